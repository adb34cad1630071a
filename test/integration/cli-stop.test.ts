import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type CliImages, finish, makeCliImages, nodewarm, start, succeed } from "../support/cli.ts";
import { blobPath } from "../support/image-maker.ts";
import { needs } from "../support/privileges.ts";
import { run, waitUntil } from "../support/processes.ts";
import { listen } from "../support/registry.ts";
import { temporaryDirectory } from "../support/temporary.ts";

let layout: string;
let web: CliImages["web"];
const fixtures = new AsyncDisposableStack();

before(async () => {
  ({ layout, web } = await makeCliImages(fixtures));
});
after(() => fixtures.disposeAsync());

/** A registry that sends half of every layer and then nothing any more. */
async function stallingRegistry(scope: AsyncDisposableStack): Promise<string> {
  const layers = new Set(web.layers.map(({ descriptor }) => descriptor.digest as string));
  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const path = incoming.url ?? "";
    const name = path.split("/").at(-1) ?? "";
    if (name === "") return outgoing.end("{}");
    const digest = name.startsWith("sha256:") ? (name as typeof web.manifest.digest) : web.manifest.digest;
    const bytes = await readFile(blobPath(layout, digest));
    const type = path.includes("/manifests/") ? web.manifest.mediaType : "application/octet-stream";
    outgoing.writeHead(200, { "content-type": type, "content-length": bytes.length, "docker-content-digest": digest });
    if (incoming.method === "HEAD") return outgoing.end();
    if (layers.has(digest)) return outgoing.write(bytes.subarray(0, bytes.length >> 1));
    return outgoing.end(bytes);
  };
  const server = await listen((incoming, outgoing) => void answer(incoming, outgoing));
  scope.defer(() => server.stop());
  return server.host;
}

async function startStalledBuild(scope: AsyncDisposableStack, cwd: string, command?: string[]): Promise<ChildProcess> {
  const registry = await stallingRegistry(scope);
  const child = start(["build", `${registry}/a/web:1`, "-o", "disk.erofs"], { cwd }, command);
  scope.defer(() => void child.kill("SIGKILL"));
  await waitUntil("the partial file is there", async () => {
    assert.equal(child.exitCode, null, String(child.stderr?.read()));
    return (await readdir(cwd)).includes(".disk.erofs.nodewarm-partial");
  });
  return child;
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  test(`${signal} removes the partial file, leaves the disk at -o and is exit ${code}`, async () => {
    await using scope = new AsyncDisposableStack();
    const cwd = await temporaryDirectory(scope);
    await writeFile(join(cwd, "disk.erofs"), "an older disk");
    const child = await startStalledBuild(scope, cwd);
    const sentMs = performance.now();
    child.kill(signal);
    const result = await finish(child);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, /nodewarm: interrupted\n$/);
    assert.ok(performance.now() - sentMs < 30_000, "stops at once");
    assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
    assert.equal(await readFile(join(cwd, "disk.erofs"), "utf8"), "an older disk");
  });
}

test("a build that was killed leaves its partial file, the next one removes it", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const child = await startStalledBuild(scope, cwd);
  child.kill("SIGKILL");
  await once(child, "close");
  assert.deepEqual(await readdir(cwd), [".disk.erofs.nodewarm-partial"]);
  await succeed(["build", `oci:${layout}:web`, "-o", "disk.erofs"], { cwd });
  assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
});

test("a full file system is one error that says so, and leaves nothing", {
  skip: needs("mount", "umount"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  await run("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", cwd]);
  scope.defer(async () => void (await run("umount", [cwd])));
  const args = ["build", `oci:${layout}:web`, "-o", join(cwd, "disk.erofs"), "--progress", "none"];
  const { code, stderr } = await nodewarm(args, { cwd: "/" });
  assert.equal(code, 1);
  assert.match(stderr, /^nodewarm: cannot write .*disk\.erofs: ENOSPC.*make room in /);
  assert.deepEqual(await readdir(cwd), []);
});

test("two builds of one disk at once: the second says that the first is at work", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  await startStalledBuild(scope, cwd);
  const { code, stderr } = await nodewarm(["build", `oci:${layout}:web`, "-o", "disk.erofs"], { cwd });
  assert.equal(code, 1);
  assert.match(stderr, /another build is writing it/);
  assert.deepEqual(await readdir(cwd), [".disk.erofs.nodewarm-partial"]);
});
