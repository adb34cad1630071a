import assert from "node:assert/strict";
import { open, readlink, rm } from "node:fs/promises";
import { test } from "node:test";
import { eject, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { carrierOf, fsPath, readOwnedState } from "../owned-state.ts";
import { readStatus } from "../status/read-status.ts";
import { cutOffDisk } from "./cut-off-disk.ts";

const namespace = "k8s.io";
const { signal } = new AbortController();

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: of a disk that it is cut off from only what another has too can be started`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope);
    const node = await openTestNode(scope, daemon);
    const images = await makeInjectionImages(scope);
    const [app, tool] = [
      [appName, images.app],
      [toolName, images.tool],
    ] as const;
    const first = await makeInjectionDisk(scope, images, { images: [app, tool] });
    const second = await makeInjectionDisk(scope, images, { images: [tool] });
    await injectPath(node, first.path);
    await injectPath(node, second.path);
    const running = await daemon.runDetached({ namespace, image: appName, command: ["/bin/sleep", "1000"] });
    const heldBy = async () => (await readStatus(node, signal)).find(({ id }) => id === first.id)?.heldBy;
    const byContainer = [{ kind: "container", name: running }];
    assert.deepEqual(await heldBy(), byContainer, "images of the second disk do not hold the first");

    await assert.rejects(
      cutOffDisk(node, first.id, signal, (step) => {
        if (step === "relabel") throw new Error("killed");
      }),
      /killed/,
    );
    assert.equal(
      await daemon.run({ namespace, image: appName }),
      "variant 1\n",
      "it is whole until nothing leads there",
    );
    for (let i = 0; i < 2; i++) await cutOffDisk(node, first.id, signal);
    const { owned } = await readOwnedState(node);
    assert.equal(await daemon.run({ namespace, image: toolName }), "tool 1\n");
    await assert.rejects(daemon.run({ namespace, image: appName }));
    const table = await node.mounts.table();
    const carrier = carrierOf({ owned }, first.id);
    assert.ok(carrier !== undefined);
    assert.deepEqual(
      [table.at(fsPath(node, carrier.number)), table.at(diskMountPoint(first.id))],
      [undefined, undefined],
    );
    assert.match(await daemon.ctr("-n", namespace, "tasks", "ls"), new RegExp(`${running} +\\d+ +RUNNING`));
    assert.equal(
      await daemon.ctr("-n", namespace, "tasks", "exec", "--exec-id", "x", running, "/bin/cat", "/data/variant"),
      "variant 1\n",
    );
    assert.deepEqual(await heldBy(), byContainer);

    await injectPath(node, first.path);
    assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
    assert.equal(await daemon.run({ namespace, image: toolName }), "tool 1\n");
  });

  test(`${runtime.name}: a disk that it is cut off from is not said to be released while somebody has it, its file gone or not`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope);
    const node = await openTestNode(scope, daemon);
    const { path, id } = await makeInjectionDisk(scope, await makeInjectionImages(scope));
    await injectPath(node, path);
    {
      await using _used = await open(`${diskMountPoint(id)}/nodewarm.json`);
      await cutOffDisk(node, id, signal);
      await rm(path);
      const [disk] = (await eject(node)).disks;
      assert.equal(disk?.isReleased, false);
      assert.ok(disk.heldBy.some(({ kind, name }) => kind === "process" && name.startsWith(`${process.pid} (`)));
    }
  });

  test(`${runtime.name}: a disk takes over from one that is away what both have, when it is injected`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope);
    const node = await openTestNode(scope, daemon);
    const images = await makeInjectionImages(scope);
    const tool = [toolName, images.tool] as const;
    const first = await makeInjectionDisk(scope, images, { images: [[appName, images.app], tool] });
    const second = await makeInjectionDisk(scope, images, { images: [tool] });
    await injectPath(node, first.path);
    await injectPath(node, second.path);
    const links = async () => {
      const linked = [...(await readOwnedState(node)).owned.values()].filter(({ tree }) => tree !== "");
      return Promise.all(linked.map(({ number }) => readlink(fsPath(node, number))));
    };
    const before = await links();
    await injectPath(node, second.path);
    assert.deepEqual(await links(), before, "of disks of different lines that are there none takes from the other");
    const carrier = carrierOf(await readOwnedState(node), first.id);
    assert.ok(carrier !== undefined);
    await node.mounts.unmount(fsPath(node, carrier.number), { detach: true });
    await node.mounts.unmount(diskMountPoint(first.id), { detach: true });
    await assert.rejects(daemon.run({ namespace, image: toolName }));
    await injectPath(node, second.path);
    assert.equal(await daemon.run({ namespace, image: toolName }), "tool 1\n");
    await assert.rejects(daemon.run({ namespace, image: appName }));
  });
}
