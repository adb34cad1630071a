import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, test } from "node:test";
import { AgentNode } from "../../test/support/runtimes/agent-node.ts";
import { appName, makeInjectionDisk, openTestNode } from "../../test/support/runtimes/injection.ts";
import { outermostRuntimes } from "../../test/support/runtimes/node-cli.ts";
import { leaveRuntime } from "./leave-runtime.ts";

const signal = new AbortController().signal;

for (const runtime of await outermostRuntimes()) {
  describe(`leaving ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    test("images in use and fetched ones work on without disk, mark, pin, lease or spool", async () => {
      await using scope = new AsyncDisposableStack();
      const agent = await AgentNode.start(scope, runtime);
      const disk = await makeInjectionDisk(scope, agent.images, { images: [[appName, agent.images.app]] });
      await agent.bringDisk(disk.path);
      const tool = await agent.publish(agent.images.tool, "team/tool:v1");
      await agent.configure([{ ref: tool }]);
      assert.equal((await agent.runOnce()).code, 0);
      const { daemon } = agent;
      await daemon.ctr("-n", "k8s.io", "run", "-d", appName, "busy", "/bin/sleep", "1000");
      scope.defer(async () => void (await daemon.ctr("-n", "k8s.io", "task", "rm", "-f", "busy").catch(() => {})));

      const found = { kind: "containerd", address: daemon.address, namespace: "k8s.io" } as const;
      const report = await leaveRuntime(found, { signal });
      assert.deepEqual(
        report.disks.map(({ id, materialized }) => [id, materialized > 0]),
        [[disk.id, true]],
      );
      assert.ok(report.releasedNames.includes(tool));
      const node = await openTestNode(scope, daemon);
      const snapshots = await Array.fromAsync(node.snapshots.list());
      const contents = await Array.fromAsync(node.in.content.list());
      const [images, leases] = [await node.in.images.list(), await node.in.leases.list()];
      const marked = [...images, ...leases, ...snapshots, ...contents].filter((each) =>
        /nodewarm\.io\/|nodewarm-/.test(JSON.stringify(each)),
      );
      // What was copied stands on it, and it goes with that.
      assert.deepEqual(
        marked.map((each) => "name" in each && each.name),
        ["nodewarm/empty"],
      );
      const pinned = images.filter(({ labels }) => labels["io.cri-containerd.pinned"] !== undefined);
      // CRI pins the image of its sandboxes.
      assert.deepEqual(
        pinned.filter(({ name }) => !/pause|^sha256:/.test(name)),
        [],
      );
      assert.deepEqual(
        (await readdir(daemon.root)).filter((name) => name.includes("nodewarm")),
        [],
      );
      assert.equal(await agent.container(tool), "tool 1\n");
      assert.match(
        await daemon.ctr("-n", "k8s.io", "task", "exec", "--exec-id", "x", "busy", "/bin/cat", "/data/variant"),
        /variant 1/,
      );
      const again = await leaveRuntime(found, { signal });
      assert.deepEqual([again.disks, again.releasedNames], [[], []]);
    });
  });
}
