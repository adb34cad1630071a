import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { needsRoot } from "../../../test/support/privileges.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { eject, outermostRuntimes } from "../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../../../test/support/runtimes/injection.ts";
import { startInjectionNode } from "../../../test/support/runtimes/injection-node.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { bindDisk, lockDisk } from "../host/disk-lock.ts";
import { HostError } from "../host/host-error.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import { carrierOf, fsPath, readOwnedState } from "./owned-state.ts";

const { signal } = new AbortController();

test("a mount point without its disk is shown on no carrier", { skip: needsRoot }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "carrier");
  const mounts = new SystemMounts();
  await assert.rejects(bindDisk(mounts, randomBytes(32).toString("hex"), folder), (error) => {
    assert.ok(error instanceof HostError && error.code === "not-found");
    return true;
  });
  assert.equal((await mounts.table()).at(folder), undefined);
});

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: whoever mounts or unmounts a disk waits for others that do`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const other = await openTestNode(scope, daemon, "other");
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    await injectPath(node, path);
    const steps: string[] = [];
    const atStep = (step: string) => {
      steps.push(step);
    };
    const changes = () => steps.filter((step) => /^(?:unmount-|mount )/.test(step));
    const lock = await lockDisk(node.local, id, signal);
    const both = Promise.all([eject(node, {}, atStep), injectPath(other, path, {}, atStep)]);
    await waitUntil("the ejection has come to the mounts", async () => steps.includes("remove-snapshots"));
    await sleep(300);
    assert.deepEqual(changes(), []);
    await lock[Symbol.asyncDispose]();
    await both;
    assert.ok(changes().includes("mount carrier"));
  });

  test(`${runtime.name}: ejecting from one namespace while another injects leaves that with the disk`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    let [from, to] = [node, await openTestNode(scope, daemon, "other")];
    await injectPath(from, path);
    for (let round = 0; round < 4; round++) {
      await Promise.all([eject(from), injectPath(to, path)]);
      const carrier = carrierOf(await readOwnedState(to), id);
      assert.ok(carrier !== undefined);
      assert.equal((await to.mounts.table()).at(fsPath(to, carrier.number))?.type, "erofs");
      assert.equal(await daemon.run({ namespace: to.namespace, image: appName }), "variant 1\n");
      await daemon.ctr("-n", to.namespace, "images", "export", `${daemon.directory}/${round}.tar`, appName);
      [from, to] = [to, from];
    }
    assert.equal((await eject(from)).disks[0]?.isReleased, true);
  });
}
