import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startEventProxy } from "../support/event-proxy.ts";
import { listenForNotifications } from "../support/notify-socket.ts";
import { run, waitUntil } from "../support/processes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { appName, makeInjectionDisk } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";

/** A node at work whose disk is full, whose events do not come, or whose workloads are to wait. */

const runtime = (await outermostRuntimes()).at(-1);

describe(`nodewarm agent in trouble, ${runtime?.name}`, { skip: runtime?.reason ?? false }, () => {
  const scope = new AsyncDisposableStack();
  let node: AgentNode;
  let ballast: string;
  let tool: string;

  before(async () => {
    assert.ok(runtime);
    node = await AgentNode.start(scope, runtime);
    const { daemon } = node;
    await daemon.stop();
    await run("mount", ["-t", "tmpfs", "-o", "size=128m", "tmpfs", daemon.root]);
    scope.defer(async () => {
      await node.stop("SIGKILL");
      await daemon.stop();
      await run("umount", ["-R", "-l", daemon.root]);
    });
    await daemon.start();
    ballast = join(daemon.root, "ballast");
    tool = await node.publish(node.images.tool, "team/tool:v1");
    const disk = await makeInjectionDisk(scope, node.images, { images: [[appName, node.images.app]] });
    await node.bringDisk(disk.path);
  });
  after(() => scope.disposeAsync());

  const remove = (...names: readonly string[]) => node.daemon.ctr("-n", "k8s.io", "images", "rm", "--sync", ...names);
  const untilNamed = (...names: readonly string[]) =>
    waitUntil(`there are records of ${names.join(", ")}`, async () => {
      const records = (await node.daemon.ctr("-n", "k8s.io", "images", "ls", "-q")).split("\n");
      return names.every((name) => records.includes(name));
    });
  /** Both are named, warm and start. */
  const works = async () => {
    await untilNamed(tool, appName);
    await node.untilWarm(tool, appName);
    assert.equal(await node.container(tool), "tool 1\n");
    assert.equal(await node.container(appName), "variant 1\n");
  };

  test("above the mark nothing is fetched, disks are injected, and what is missing comes when there is room", async () => {
    const limits = { highWater: 75, evictAbove: 82 };
    await writeFile(ballast, Buffer.alloc(100 << 20));
    await node.configure([{ ref: tool }], { limits });
    await node.startAgent();
    const held = await node.until(
      "the reason shows",
      (status) => imageIn(status, tool)?.phase === "Held" && imageIn(status, appName)?.phase === "Warm",
    );
    assert.match(imageIn(held, tool)?.reason ?? "", /the file system of .* nothing is fetched from 75 % on/);
    assert.equal(await node.container(appName), "variant 1\n");
    await rm(ballast);
    await node.untilWarm(tool);
    assert.equal(await node.container(tool), "tool 1\n");
  });

  test("what was deleted while the file system was full is warm again when it is not", async () => {
    await node.configure([{ ref: tool }]);
    await writeFile(ballast, Buffer.alloc(256 << 20)).catch(({ code }) => assert.equal(code, "ENOSPC"));
    // With a full disk that may fail, too.
    for (const name of [tool, appName]) await remove(name).catch(() => {});
    await rm(ballast);
    await works();
  });

  test("what others can do without is given up when the file system is too full, and images of disks are not", async () => {
    await writeFile(ballast, Buffer.alloc(110 << 20));
    // Otherwise it is seen with the next comparison.
    await node.configure([{ ref: tool, gate: false }], { limits: { highWater: 75, evictAbove: 82 } });
    const status = await node.until("it is given up", (now) => imageIn(now, tool)?.phase === "Held");
    assert.deepEqual(
      imageIn(status, tool)?.conditions.map(({ type }) => type),
      ["Evicted"],
    );
    await waitUntil(
      "its name is gone",
      async () => !(await node.daemon.ctr("-n", "k8s.io", "images", "ls", "-q")).includes(tool),
    );
    assert.equal(await node.container(appName), "variant 1\n");
    await rm(ballast);
    assert.equal(await node.stop(), 0);
    await rm(node.state, { recursive: true });
  });

  test("events that do not arrive are made good, and those that do count again afterwards", async () => {
    const proxy = await startEventProxy(scope, node.daemon.address);
    await node.configure([{ ref: tool }]);
    node.address = proxy.address;
    await node.startAgent();
    node.address = node.daemon.address;
    await node.untilWarm(tool, appName);
    const logged = node.log.length;
    const says = (pattern: RegExp) => async () => pattern.test(node.log.slice(logged));
    proxy.swallows = true;
    await remove(tool, appName);
    await node.until("it is seen that no events come", ({ conditions }) =>
      conditions.some(({ type, message }) => type === "RuntimeUnavailable" && /do not arrive/.test(message)),
    );
    await waitUntil("the log says so", says(/ events-lost .*its events do not arrive/));
    await node.until("both are back", (now) =>
      [tool, appName].every((name) => {
        const image = imageIn(now, name);
        return image?.phase === "Warm" && image.disappearances > 0;
      }),
    );
    await works();
    proxy.swallows = false;
    await node.until("events come again", ({ conditions }) => conditions.length === 0);
    await waitUntil("the log says that, too", says(/^events-back\b/m));
    await remove(tool);
    await node.until("it is back", (now) => {
      const image = imageIn(now, tool);
      return image?.phase === "Warm" && image.disappearances > 1;
    });
    assert.equal(await node.stop(), 0);
  });

  test("workloads are let in when the time of a set is up, or never, as it says, and when all is warm", async () => {
    for (const [onTimeout, image] of [
      ["Closed", "late"],
      ["Open", "never"],
    ] as const) {
      await using inner = new AsyncDisposableStack();
      const ref = `${node.registry.host}/team/${image}:v1`;
      await node.writeDocument("set.json", {
        apiVersion: "nodewarm.io/v1alpha1",
        kind: "ImageSet",
        metadata: { name: "test" },
        spec: { images: [{ ref, refresh: { interval: "10s" } }], gateTimeout: "2s", onTimeout },
      });
      const socket = join(node.folder, `notify-${onTimeout}`);
      const heard = await listenForNotifications(inner, socket);
      node.environment.NOTIFY_SOCKET = socket;
      const logged = node.log.length;
      await node.startAgent("--listen", "127.0.0.1:0");
      delete node.environment.NOTIFY_SOCKET;
      const address = () => /listening address=(\S+)/.exec(node.log.slice(logged))?.[1];
      await waitUntil("it listens", async () => address() !== undefined);
      const ready = async () => (await fetch(`http://${address()}/readyz`)).status;
      if (onTimeout === "Closed") {
        // Its time has long been up when it has failed a few times.
        await node.until("it was tried", (status) => (imageIn(status, ref)?.retryInSeconds ?? 0) > 3);
        assert.equal(await ready(), 503);
        assert.ok(!(await heard()).includes("READY=1"));
        await node.publish(node.images.base, `team/${image}:v1`);
      }
      await waitUntil("the service manager is told", async () => (await heard()).includes("READY=1"), 90_000);
      assert.equal(await ready(), 200);
      assert.equal(await node.stop(), 0);
    }
  });
});
