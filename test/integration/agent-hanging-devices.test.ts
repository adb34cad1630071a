import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { attachHangingDevices, needsHangingDevices } from "../support/hanging-devices.ts";
import { waitUntil } from "../support/processes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { appName, makeInjectionDisk } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import type { Scope } from "../support/temporary.ts";

/** More devices that hang than the agent has threads for files, on a node at work. */

const deviceCount = 6;

type Runtime = Awaited<ReturnType<typeof outermostRuntimes>>[number];

/** A node with an image in its registry, one on a disk in a folder, and one on each of the disks that devices are to have. */
async function makeSetting(scope: Scope, runtime: Runtime) {
  const node = await AgentNode.start(scope, runtime);
  node.environment.UV_THREADPOOL_SIZE = "4";
  const { images } = node;
  const names = Array.from({ length: deviceCount }, (_, i) => `example.com/team/hanging-${i}:v1`);
  const lines = names.map(() => `line-${randomUUID()}`);
  const disks: string[] = [];
  for (const [i, line] of lines.entries()) {
    const { path } = await makeInjectionDisk(scope, images, { line, images: [[names[i] ?? "", images.base]] });
    disks.push(path);
  }
  const { path } = await makeInjectionDisk(scope, images, { images: [[appName, images.app]] });
  const healthy = await node.bringDisk(path, "healthy.erofs");
  const tool = await node.publish(images.tool, "team/tool:v1", images.layout);
  const configure = (devices: readonly { readonly path: string }[]) =>
    node.configure([{ ref: tool }], {
      disks: { folders: [dirname(healthy)], devices: devices.map((device) => device.path), allow: lines, grace: "1h" },
    });
  /** It looks, injects and fetches. */
  const assertWorks = async (): Promise<void> => {
    for (const name of [tool, appName]) {
      const before = imageIn(await node.untilWarm(name), name)?.disappearances ?? 0;
      await node.daemon.ctr("-n", "k8s.io", "images", "rm", "--sync", name);
      await node.until(`${name} is back`, (status) => {
        const image = imageIn(status, name);
        return image?.phase === "Warm" && image.disappearances > before;
      });
    }
  };
  return { node, healthy, names, disks, configure, assertWorks };
}

for (const runtime of (await outermostRuntimes()).slice(-1)) {
  describe(`devices hang on a node with ${runtime.name}`, { skip: runtime.reason ?? needsHangingDevices }, () => {
    test("six that hang from the beginning are shown, and hold up nothing but the gate; what they have is used when they answer", async () => {
      await using scope = new AsyncDisposableStack();
      const { node, healthy, names, disks, configure, assertWorks } = await makeSetting(scope, runtime);
      const devices = await attachHangingDevices(scope, disks);
      for (const device of devices) await device.hang();
      await configure(devices);
      await node.startAgent();
      await assertWorks();
      const shown = await node.until("all are shown", (status) => status.disks.length === deviceCount + 1);
      for (const { path, phase, id } of shown.disks) {
        if (path === healthy) assert.equal(phase, "Injected");
        else assert.ok(["Checking", "Broken"].includes(phase) && id === undefined, `${path}: ${phase}`);
      }
      for (const device of devices) await device.answer();
      await node.untilWarm(...names);
      await waitUntil("workloads may come", async () => node.log.includes("ready "));
      assert.equal(await node.stop(), 0);
    });
  });
}
