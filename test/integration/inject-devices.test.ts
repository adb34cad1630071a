import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { readStatus } from "../../src/runtime/containerd/status/read-status.ts";
import { addLayer, type MadeImage, makeImage } from "../support/image-maker.ts";
import { run } from "../support/processes.ts";
import { assertComplete } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { eject } from "../support/runtimes/ejection.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  platform,
} from "../support/runtimes/injection.ts";
import { file, tar } from "../support/tar-maker.ts";
import type { Scope } from "../support/temporary.ts";

/** A node whose disks are block devices: a new one comes, with nearly all images of the one before, which then goes. */

const imageCount = 33;
const nameOf = (i: number) => `example.com/fleet/image-${i}:v1`;
const changed = nameOf(0);
const line = `devices-${process.pid}`;

for (const runtime of await containerdRuntimes()) {
  describe(`block devices in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let node: ContainerdNode;
    let older: { readonly device: string; readonly id: string };
    let newer: { readonly device: string; readonly id: string };
    let running: string;

    before(async () => {
      const images = await makeInjectionImages(scope);
      const { layout, base } = images;
      const make = async (text: string): Promise<MadeImage> => {
        const layers = [...base.layers, await addLayer(layout, { tar: tar(file("text", `${text}\n`)) })];
        return makeImage(layout, { layers, platform, run: { Cmd: ["/bin/cat", "/text"] } });
      };
      const all: [string, MadeImage][] = [];
      for (let i = 0; i < imageCount; i++) all.push([nameOf(i), await make(`text ${i}`)]);
      const next: typeof all = [[changed, await make("new text")], ...all.slice(1)];
      const disk = async (sequence: number, named: typeof all) => {
        const { path, id } = await makeInjectionDisk(scope, images, { line, sequence, images: named });
        return { device: await attach(scope, path), id };
      };
      older = await disk(1, all);
      newer = await disk(2, next);
      daemon = await runtime.start(scope);
      node = await openTestNode(scope, daemon);
      await assertComplete(node, await injectPath(node, older.device));
      running = await daemon.runDetached({ image: changed, namespace: "k8s.io", command: ["/bin/sleep", "900"] });
      await assertComplete(node, await injectPath(node, newer.device));
    });
    after(() => scope.disposeAsync());

    const start = (image: string): Promise<string> => daemon.run({ image, namespace: "k8s.io" });
    const exec = (...command: string[]): Promise<string> => {
      const fifos = ["--exec-id", "look", "--fifo-dir", `${daemon.directory}/fifo`];
      return daemon.ctr("--namespace", "k8s.io", "task", "exec", ...fifos, running, ...command);
    };

    test("what is started now is of the newer disk, what runs keeps the older one, and the status names it", async () => {
      assert.equal(await start(changed), "new text\n");
      assert.equal(await start(nameOf(20)), "text 20\n");
      assert.equal(await exec("/bin/cat", "/text"), "text 0\n");
      const status = await readStatus(node, new AbortController().signal);
      assert.deepEqual(
        status.map(({ id, isMounted, heldBy }) => ({ id, isMounted, heldBy })),
        [
          { id: newer.id, isMounted: true, heldBy: [] },
          { id: older.id, isMounted: true, heldBy: [{ kind: "container", name: running }] },
        ],
      );
      await assert.rejects(eject(node, { disks: [older.id] }), new RegExp(`container ${running}`));
      assert.equal(await exec("/bin/cat", "/text"), "text 0\n");
    });

    test("once that has ended the older device is released, can be detached, and all images run without it", async () => {
      await daemon.ctr("--namespace", "k8s.io", "tasks", "delete", "--force", running);
      await daemon.ctr("--namespace", "k8s.io", "containers", "delete", running);
      const { disks } = await eject(node, { disks: [older.id] });
      assert.deepEqual(
        disks.map(({ id, isReleased, heldBy }) => ({ id, isReleased, heldBy })),
        [{ id: older.id, isReleased: true, heldBy: [] }],
      );
      await run("losetup", ["--detach", older.device]);
      assert.equal(await isAttached(older.device), false);
      assert.equal(await start(changed), "new text\n");
      for (const i of [1, 16, imageCount - 1]) assert.equal(await start(nameOf(i)), `text ${i}\n`);
      await daemon.restart();
      assert.equal(await start(nameOf(2)), "text 2\n");
    });
  });
}

/** A loop device that stays as it is until the scope ends, or it is detached by name. */
async function attach(scope: Scope, path: string): Promise<string> {
  const device = (await run("losetup", ["--find", "--show", "--read-only", path])).trim();
  scope.defer(async () => {
    if (await isAttached(device)) await run("losetup", ["--detach", device]);
  });
  return device;
}

async function isAttached(device: string): Promise<boolean> {
  const { loopdevices = [] } = JSON.parse((await run("losetup", ["--list", "--json"])) || "{}") as {
    loopdevices?: { name: string }[];
  };
  return loopdevices.some(({ name }) => name === device);
}
