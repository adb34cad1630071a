import assert from "node:assert/strict";
import { access, glob, readdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { disksOf, makeCliImages, root } from "../support/cli.ts";
import { run } from "../support/processes.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const fixtures = new AsyncDisposableStack();
let work: string;
let bundle: string;
let layout: string;

before(async () => {
  work = await temporaryDirectory(fixtures, "bundle");
  ({ layout } = await makeCliImages(fixtures));
  // Made in one place, used in another.
  const made = join(work, "made");
  await run(process.execPath, [join(root, "scripts/bundle.ts"), "--out", made]);
  bundle = join(work, "moved");
  await rename(made, bundle);
});
after(() => fixtures.disposeAsync());

/** Builds with the program in `work` and says which disk came out. */
async function build(program: string, ...more: readonly string[]): Promise<string> {
  const args = ["build", `oci:${layout}:web`, `oci:${layout}:api`, "-o", "disk.erofs", "--json", ...more];
  const env = { HOME: work, PATH: `${work}:/usr/bin:/bin`, NODE_COMPILE_CACHE: "" };
  const stdout = await run(program, args, { cwd: work, env });
  return disksOf({ code: 0, stdout, stderr: "" })[0].id;
}

test("the bundle builds the same disk as the sources, also from an older disk, and reads it", async () => {
  const id = await build(join(root, "bin/nodewarm"));
  assert.equal(await build(join(bundle, "nodewarm")), id);
  assert.equal(await build(join(bundle, "nodewarm"), "--from", "disk.erofs"), id);
  const program = join(bundle, "nodewarm");
  assert.match(await run(program, ["verify", "disk.erofs"], { cwd: work }), /./);
  assert.match(await run(program, ["ls", "disk.erofs"], { cwd: work }), /\n/);
});

test("the bundle is found through links, and reads image sets", async () => {
  const link = join(work, "link-to-nodewarm");
  await symlink("moved/nodewarm", link);
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  assert.equal(await run(link, ["--version"]), `nodewarm ${version}\n`);
  const set = { apiVersion: "nodewarm.io/v1alpha1", kind: "ImageSet", metadata: { name: "shop" } };
  const spec = { images: [{ ref: "127.0.0.1:1/app:v1" }] };
  await writeFile(join(work, "set.json"), JSON.stringify({ ...set, spec }));
  const args = ["build", "-f", "set.json", "-o", "set.erofs", "--limit", "fetch-retries=0"];
  await assert.rejects(
    run(link, args, { cwd: work }),
    /127\.0\.0\.1:1\/v2\/app\/manifests\/v1: .*; nothing listens there/,
  );
});

test("the bundle carries the licences of what is in it", async () => {
  await access(join(bundle, "LICENSE"));
  const licences = await readFile(join(bundle, "THIRD-PARTY-LICENSES"), "utf8");
  for (const name of ["koffi", "smol-toml", "yaml", "zod"]) assert.match(licences, new RegExp(`^${name} \\d`, "m"));
  assert.doesNotMatch(licences, /^esbuild /m);
});

test("each thread and each child process that the sources start has its file in the bundle", async () => {
  const sources = join(root, "src");
  const started: string[] = [];
  const threads: string[] = [];
  const asked: string[] = [];
  const children: string[] = [];
  for await (const path of glob("**/*.ts", { cwd: sources, exclude: ["**/*.test.ts"] })) {
    const text = await readFile(join(sources, path), "utf8");
    // Whoever imports the class starts threads: there is no other way to one.
    if (/\bWorker\b[^;]*\} from "node:worker_threads"/.test(text.replace(/import type [^;]*;/g, ""))) {
      const names = [...text.matchAll(/`\.\/([\w-]+)\$\{extname\(import\.meta\.filename\)\}`/g)].map(
        ([, name]) => name,
      );
      assert.equal(
        names.length,
        text.split("new Worker(").length - 1,
        `${path}: the file of each thread is named as those of others are`,
      );
      started.push(...names.map((name) => join(dirname(path), `${name}.ts`)));
    }
    if (/\bparentPort\b[^;]*\} from "node:worker_threads"/.test(text)) threads.push(path);
    for (const [, name] of text.matchAll(/`\.\/([\w-]+-child)\$\{extname\(import\.meta\.filename\)\}`/g))
      asked.push(join(dirname(path), `${name}.ts`));
    if (/^serveStorageJobs\(/m.test(text)) children.push(path);
  }
  assert.ok(started.length >= 5, started.join());
  assert.deepEqual(started.sort(), threads.sort());
  assert.ok(asked.length >= 2, asked.join());
  assert.deepEqual(asked.sort(), children.sort());
  const files = await readdir(bundle);
  for (const path of [...started, ...asked])
    assert.ok(files.includes(`${basename(path, ".ts")}.mjs`), `${path} is not in the bundle`);
});
