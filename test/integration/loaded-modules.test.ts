import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { finish, host, main, makeCliImages, root, start } from "../support/cli.ts";
import { sha256 } from "../support/image-maker.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

// Each of these libraries costs every run that loads it about 20 MB of memory and 70 ms of CPU time.

let layout: string;
const fixtures = new AsyncDisposableStack();

before(async () => {
  ({ layout } = await makeCliImages(fixtures));
});
after(() => fixtures.disposeAsync());

/** Names of our files below `src` and of npm packages that a run of the program loads, and how it ended. */
async function loadedBy(args: readonly string[], cwd: string) {
  const recorded = join(cwd, "modules");
  await writeFile(recorded, "");
  const recorder = join(root, "test/support/record-modules.ts");
  const env = { RECORDED_MODULES: recorded };
  const result = await finish(start(args, { cwd, env }, [process.execPath, "--import", recorder, main]));
  const urls = (await readFile(recorded, "utf8")).split("\n");
  const names = urls
    .map((url) => /\/node_modules\/([^/]+)|\/src\/(.+)$/.exec(url))
    .map((match) => match?.[1] ?? match?.[2]);
  return { ...result, modules: new Set(names) };
}

/** In the form of `docker save` before version 25. */
function dockerArchive(): Uint8Array {
  const layer = tar(file("hello", "hello\n"));
  const config = JSON.stringify({ ...host, rootfs: { type: "layers", diff_ids: [sha256(layer)] } });
  const entry = { Config: "config.json", RepoTags: ["hello:1"], Layers: ["layer.tar"] };
  return tar(file("config.json", config), file("layer.tar", layer), file("manifest.json", JSON.stringify([entry])));
}

test("a build of local images loads neither the schema library nor what speaks to registries", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  execFileSync("tar", ["-cf", join(cwd, "oci.tar"), "-C", layout, "."]);
  await writeFile(join(cwd, "docker.tar"), dockerArchive());
  const images = [`oci:${layout}:web`, "oci-archive:oci.tar:api", "docker-archive:docker.tar"];
  const { code, stderr, modules } = await loadedBy(["build", ...images, "-o", "disk.erofs"], cwd);
  assert.equal(code, 0, stderr);
  for (const name of ["oci/image-documents.ts", "layers/read-layer.ts"]) assert.ok(modules.has(name), name);
  for (const name of ["zod", "smol-toml", "yaml", "oci/registry/transport.ts"]) assert.ok(!modules.has(name), name);
  // So little is read without threads.
  for (const name of ["disk/build/layers/layer-pool.ts", "disk/build/layers/layer-worker.ts"])
    assert.ok(!modules.has(name), name);
});

test("a build of a registry's image loads what speaks to registries, but not the schema library", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const args = ["build", "127.0.0.1:1/app:v1", "-o", "disk.erofs", "--limit", "fetch-retries=0"];
  const { code, modules } = await loadedBy(args, cwd);
  assert.equal(code, 1);
  assert.ok(modules.has("oci/registry/transport.ts"));
  for (const name of ["zod", "yaml", "smol-toml"]) assert.ok(!modules.has(name), name);
});

test("a disk is read without the schema library", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const built = await finish(start(["build", `oci:${layout}:web`, "-o", "disk.erofs"], { cwd }));
  assert.equal(built.code, 0, built.stderr);
  const { code, modules } = await loadedBy(["inspect", "disk.erofs"], cwd);
  assert.equal(code, 0);
  assert.ok(modules.has("disk/reader/disk-index.ts"));
  assert.ok(!modules.has("zod"));
});
