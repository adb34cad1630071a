import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { addLayer, type MadeImage, makeImage, tagInLayout } from "../../../../test/support/image-maker.ts";
import { mountErofs } from "../../../../test/support/mount.ts";
import { run } from "../../../../test/support/processes.ts";
import type { ContainerdDaemon } from "../../../../test/support/runtimes/containerd-daemon.ts";
import { injectFile, makeDisk, openNode } from "../../../../test/support/runtimes/disk-on-node.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { makeRuntimeImages } from "../../../../test/support/runtimes/runtime-images.ts";
import {
  device,
  directory,
  file,
  hardLink,
  opaque,
  symbolicLink,
  tar,
  whiteout,
} from "../../../../test/support/tar-maker.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { compareTrees } from "../../../../test/support/tree-compare.ts";
import type { EjectOptions, EjectReport } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { readOwnedState } from "../owned-state.ts";
import { diskMountPoint } from "../ownership.ts";
import { ejectDisks } from "./eject-disks.ts";

const namespace = "k8s.io";
const appName = "nodewarm.test/app:1";
const probeName = "nodewarm.test/greeting:1";
const builtName = "nodewarm.test/built:1";

const runtimes = (await containerdRuntimes()).filter((_, index, all) => index === 0 || index === all.length - 1);

for (const runtime of runtimes) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: after inject and eject, a node is what it was`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node, disk } = await prepare(scope, runtime.start);
    await daemon.importRuntimeImages();
    const before = await listNode(node);
    const { disk: id } = await injectFile(node, disk);
    const injected = await listNode(node);
    assert.ok(
      injected.blobPaths.some((path) => path.includes(" -> /run/nodewarm/")),
      "layer blobs are links",
    );
    assert.equal(injected.mounts.length, 1, "the carrier");
    assert.equal(await daemon.run({ namespace, image: appName }), "hello from the probe\n");
    const report = await eject(node);
    assert.deepEqual(report, {
      disks: [{ id, isReleased: true, heldBy: [], removedImages: 2, materialized: 0 }],
    });
    assert.deepEqual(await listNode(node), before);
    assert.ok(!existsSync(diskMountPoint(id)));
    assert.equal(await loopDevicesOf(disk), "");
    await assert.rejects(eject(node, { disks: [id] }), (error) => isRuntimeError(error, "not-found"));
    assert.deepEqual(await eject(node), { disks: [] });
    // And all over again.
    await injectFile(node, disk);
    assert.equal(await daemon.run({ namespace, image: appName }), "hello from the probe\n");
    await eject(node, { disks: [id] });
    assert.deepEqual(await listNode(node), before);
  });
}

async function prepare(
  scope: Scope,
  start: (scope: Scope) => Promise<ContainerdDaemon>,
): Promise<{ daemon: ContainerdDaemon; node: ContainerdNode; disk: string; images: Images }> {
  const daemon = await start(scope);
  const node = await openNode(scope, daemon);
  const images = await makeImages(scope);
  const disk = await makeDisk(scope, images.layout, [
    { name: appName, image: images.app },
    { name: probeName, image: images.probe },
  ]);
  return { daemon, node, disk, images };
}

type Images = {
  readonly layout: string;
  readonly probe: MadeImage;
  /** Of the probe's layers and two of its own, with everything that a layer can hold. */
  readonly app: MadeImage;
};

async function makeImages(scope: Scope): Promise<Images> {
  const layout = join(await temporaryDirectory(scope, "layout"), "l");
  const { probe } = await makeRuntimeImages(layout);
  const { platform } = probe.manifest;
  assert.ok(platform !== undefined);
  const one = await addLayer(layout, {
    tar: tar(
      directory("data", { mode: 0o1777, mtime: 1_500_000_000 }),
      file("data/a", "first\n", { uid: 1000, gid: 1001, mode: 0o4755, mtime: 1_400_000_000 }),
      hardLink("data/b", "data/a"),
      file("data/gone", "x"),
      symbolicLink("data/link", "a", { uid: 7 }),
      device("data/null", "3", 1, 3, { mode: 0o666 }),
      directory("data/old"),
      file("data/old/hidden", "x"),
      file("data/capable", "x", { xattrs: { "security.capability": capability, "user.note": "kept" } }),
      file("data/large", Buffer.alloc(3 << 20, 7)),
    ),
  });
  const two = await addLayer(layout, {
    tar: tar(
      directory("data"),
      whiteout("data/gone"),
      directory("data/old"),
      opaque("data/old"),
      file("data/old/new", "new\n"),
    ),
  });
  const app = await makeImage(layout, {
    layers: [...probe.layers, one, two],
    platform,
    run: { Cmd: ["/bin/cat", "/greeting"], Env: ["PATH=/bin"] },
  });
  return { layout, probe, app };
}

/** `struct vfs_cap_data`, revision 2: cap_net_raw, effective and permitted. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");

async function eject(node: ContainerdNode, options: Partial<EjectOptions> = {}): Promise<EjectReport> {
  return ejectDisks(node, { wait: false, materialize: false, signal: new AbortController().signal, ...options });
}

async function loopDevicesOf(path: string): Promise<string> {
  return run("losetup", ["--noheadings", "--output", "NAME", "--associated", path]);
}
