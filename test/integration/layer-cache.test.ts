import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { digestHex } from "../../src/oci/descriptor.ts";
import type { Containerd } from "../support/containerd.ts";
import { containerd24Binaries, containerd24Version } from "../support/containerd-2.4.ts";
import { buildTestDisk } from "../support/disk-maker.ts";
import { type MadeImage, makeImage, pushToRegistry } from "../support/image-maker.ts";
import { mountErofs } from "../support/mount.ts";
import { needs } from "../support/privileges.ts";
import { run, runBytes } from "../support/processes.ts";
import { startRegistry } from "../support/registry.ts";
import { startContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { newErofsPrograms } from "../support/runtimes/programs.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

/**
 * A disk with layer images serves a node that runs containerd's own EROFS snapshotter, with configuration alone: nothing of
 * Nodewarm is on that node but the mounted disk.
 */

const program = join(import.meta.dirname, "../../src/cli/main.ts");

let binaries: string | undefined;
let erofsUtils: string | undefined;
const skip = needs("docker-registry", "runc", "busybox", "losetup", "mkfs.erofs", "patchelf");

before(async () => {
  if (skip) return;
  binaries = await containerd24Binaries();
  // containerd's EROFS differ wants erofs-utils 1.8, newer than that of Debian 12.
  erofsUtils = await newErofsPrograms().catch((error) => {
    console.error(`newer erofs-utils cannot be had: ${error.message}`);
    return undefined;
  });
});

test("containerd 2.4 pulls no layer and runs the container from the layer images of a mounted disk", {
  skip,
}, async (context) => {
  if (binaries === undefined || erofsUtils === undefined)
    return context.skip("needs containerd 2.4 and erofs-utils 1.8");
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "cache");
  const layout = join(work, "layout");
  const image = await makeRunnableImage(work, layout);
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  await pushToRegistry(layout, image.manifest, { origin: registry.origin, repository: "tools/box", tag: "1" });

  const disk = await buildTestDisk(work, layout, [image], { erofsCache: true });
  const mounted = await mountErofs(scope, disk.path);
  const containerd = await startErofsContainerd(scope, binaries, erofsUtils, join(mounted, "erofs"));
  registry.resetCounts();
  const name = `${registry.host}/tools/box:1`;
  await containerd.ctr("images", "pull", "--snapshotter", "erofs", "--plain-http", name);

  const fetched = registry.requests.filter(({ method }) => method === "GET").map(({ path }) => path);
  for (const { descriptor } of image.layers) {
    assert.ok(!fetched.some((path) => path.includes(digestHex(descriptor.digest))), `${descriptor.digest} was fetched`);
  }
  const documentBytes = image.manifest.size + image.config.size;
  assert.ok(registry.sentBytes(/blobs|manifests/) <= 2 * documentBytes, `${registry.sentBytes()} bytes were sent`);

  const runContainer = ["run", "--rm", "--snapshotter", "erofs", name, `box-${process.pid}`];
  const script = "cat /greeting; ls /etc; test -e /gone || echo gone; echo new > /written; cat /written";
  const said = await containerd.ctr(...runContainer, "/bin/sh", "-c", script);
  assert.equal(said, "hello from above\nbase\nkept\ngone\nnew\n");

  for (const { diffID } of image.layers) {
    const hex = digestHex(diffID);
    const path = `erofs/sha256/${hex.slice(0, 2)}/${hex}.erofs`;
    const file = join(work, `${hex}.erofs`);
    await writeFile(file, await runBytes(process.execPath, [program, "cat", disk.path, path]));
    await run("fsck.erofs", [file]);
    await run(join(erofsUtils, "fsck.erofs"), ["--extract", file]);
  }
});

test("a layer that the disk lacks is fetched, and the container runs all the same", { skip }, async (context) => {
  if (binaries === undefined || erofsUtils === undefined)
    return context.skip("needs containerd 2.4 and erofs-utils 1.8");
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "cache");
  const layout = join(work, "layout");
  const image = await makeRunnableImage(work, layout);
  const extended = await makeImage(layout, {
    layers: [...image.layers, { tar: await tarOf(work, "more", "echo more > more") }],
  });
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  await pushToRegistry(layout, extended.manifest, { origin: registry.origin, repository: "tools/box", tag: "2" });

  const disk = await buildTestDisk(work, layout, [image], { erofsCache: true });
  const mounted = await mountErofs(scope, disk.path);
  const containerd = await startErofsContainerd(scope, binaries, erofsUtils, join(mounted, "erofs"));
  registry.resetCounts();
  const name = `${registry.host}/tools/box:2`;
  await containerd.ctr("images", "pull", "--snapshotter", "erofs", "--plain-http", name);

  const fetched = extended.layers.map(({ descriptor }) =>
    registry.requests.some(({ method, path }) => method === "GET" && path.includes(digestHex(descriptor.digest))),
  );
  assert.deepEqual(fetched, [false, false, false, true]);
  const runContainer = ["run", "--rm", "--snapshotter", "erofs", name, `more-${process.pid}`];
  assert.equal(await containerd.ctr(...runContainer, "/bin/cat", "/greeting", "/more"), "hello from above\nmore\n");
});

/** Three layers: a static busybox and some files, a file replaced and one more, a whiteout. */
async function makeRunnableImage(work: string, layout: string): Promise<MadeImage> {
  const base = await tarOf(
    work,
    "base",
    `mkdir -p bin dev etc proc sys tmp && cp "$(command -v busybox)" bin/busybox && chmod 755 bin/busybox
     for name in sh cat ls test echo; do ln -s busybox bin/$name; done
     echo hello > greeting && echo gone > gone && echo base > etc/base`,
  );
  const above = await tarOf(work, "above", "echo hello from above > greeting && mkdir etc && echo kept > etc/kept");
  const whiteout = await tarOf(work, "whiteout", "touch .wh.gone");
  return makeImage(layout, { layers: [{ tar: base }, { tar: above, compression: "zstd" }, { tar: whiteout }] });
}

async function tarOf(work: string, name: string, script: string): Promise<string> {
  const folder = join(work, name);
  const file = join(work, `${name}.tar`);
  await run("sh", ["-euc", `umask 022; mkdir ${folder}; cd ${folder}; ${script}`]);
  await run("tar", ["--owner=0", "--group=0", "--numeric-owner", "-C", folder, "-cf", file, "."]);
  return file;
}

async function startErofsContainerd(
  scope: Scope,
  binaries: string,
  erofsUtils: string,
  cache: string,
): Promise<Containerd> {
  const options = { snapshotter: "erofs", layerContentCaches: [cache], path: [erofsUtils] } as const;
  return startContainerdDaemon(scope, containerd24Version, binaries, options);
}
