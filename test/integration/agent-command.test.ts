import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { appName, makeInjectionDisk, toolName } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";

for (const runtime of await outermostRuntimes()) {
  describe(`nodewarm agent, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let node: AgentNode;
    before(async () => {
      node = await AgentNode.start(scope, runtime);
    });
    after(async () => {
      // First: it would mount again what is unmounted.
      await node.stop("SIGKILL");
      await scope.disposeAsync();
    });

    test("with --once makes everything warm from disk and registry, says what there is, and ends", async () => {
      const disk = await makeInjectionDisk(scope, node.images, { images: [[appName, node.images.app]] });
      await node.bringDisk(disk.path);
      const tool = await node.publish(node.images.tool, "team/tool:v1");
      await node.configure([{ ref: tool }]);
      const { code, stdout, stderr } = await node.runOnce();
      assert.equal(code, 0, `${stdout}${stderr}`);
      assert.match(stdout, /example\.com\/team\/app:v1 +Warm +disk /);
      assert.match(stdout, /team\/tool:v1 +Warm +registry .* test$/m);
      assert.match(stdout, /^.*disk\.erofs +Injected /m);
      assert.equal(await node.container(appName), "variant 1\n");
      assert.equal(await node.container(tool), "tool 1\n");
    });

    test("with --once says what is not warm and why, and ends with 1", async () => {
      const missing = `${node.registry.host}/team/missing:v1`;
      await node.configure([{ ref: missing }]);
      const { code, stdout } = await node.runOnce();
      assert.equal(code, 1);
      assert.match(stdout, /team\/missing:v1 +Failed/);
      assert.match(stdout, /team\/missing:v1: .*404.*is the name right/);
    });

    test("with --once refuses a document that is wrong, by file, line and field", async () => {
      await node.writeDocument(
        "set.json",
        '{\n"apiVersion": "nodewarm.io/v1alpha1",\n"kind": "ImageSet",\n"spex": {}}',
      );
      const { code, stderr } = await node.runOnce();
      assert.equal(code, 1);
      assert.match(stderr, /set\.json:4:1: spex: unknown field/);
    });

    test("running, it opens the gate, brings back what is deleted, and follows a tag that moves", async () => {
      const web = await node.publish(node.images.tool, "team/web:v1");
      await node.configure([{ ref: web, refresh: { interval: "10s" } }]);
      await node.startAgent("--listen", "127.0.0.1:0");
      const status = await node.untilWarm(web, appName);
      assert.equal(status.gate.isReady, true);
      const [, address = ""] = /listening address=(\S+)/.exec(node.log) ?? [];
      assert.equal((await fetch(`http://${address}/readyz`)).status, 200);
      assert.equal((await fetch(`http://${address}/healthz`)).status, 200);
      const metrics = await (await fetch(`http://${address}/metrics`)).text();
      assert.match(metrics, /^nodewarm_images\{runtime="containerd .*",phase="Warm",source="disk"\} 1$/m);

      for (const name of [web, appName]) await node.daemon.ctr("-n", "k8s.io", "images", "rm", name);
      await node.until("both are back", (now) =>
        [web, appName].every((name) => (imageIn(now, name)?.disappearances ?? 0) > 0),
      );
      await node.untilWarm(web, appName);
      assert.equal(await node.container(web), "tool 1\n");

      await node.publish(node.images.app, "team/web:v1");
      const moved = node.images.app.manifest.digest;
      await node.until(
        "the tag has moved",
        (now) => imageIn(now, web)?.digest === moved && imageIn(now, web)?.phase === "Warm",
      );
      assert.equal(await node.container(web), "variant 1\n");
    });

    test("a wrong document leaves the last good state in force, and shows", async () => {
      await node.writeDocument("set.json", "{");
      const status = await node.until("the problem shows", ({ conditions }) => conditions.length > 0);
      assert.equal(status.conditions[0]?.type, "ConfigurationInvalid");
      assert.ok(status.images.every(({ phase }) => phase === "Warm"));
      await node.configure([]);
      await node.until("it is gone", ({ conditions }) => conditions.length === 0);
    });

    test("inject and eject go through it, and an ejected disk is held over a restart of the agent", async () => {
      const { path, id } = await makeInjectionDisk(scope, node.images, { images: [[toolName, node.images.tool]] });
      const injected = await node.command("inject", path);
      assert.equal(injected.code, 0, injected.stderr);
      assert.match(injected.stdout, /team\/tool:v1 .* injected/);
      await node.untilWarm(toolName, appName);
      const [disk] = (await node.until("the disks show", ({ disks }) => disks.length === 2)).disks.filter(
        ({ path: place }) => place.includes("/disks/"),
      );
      // Images of the tests before may stand on layers of either disk until they are collected.
      const ejected = await node.command("eject", disk?.id ?? "", "--materialize");
      assert.equal(ejected.code, 0, ejected.stderr);
      assert.match(ejected.stdout, /released/);
      assert.equal(await node.stop(), 0, node.log);
      await node.startAgent();
      const status = await node.untilWarm(toolName);
      assert.equal(imageIn(status, appName), undefined);
      assert.match((await node.command("status")).stdout, /disk\.erofs: ejected by a person/);
      const second = await node.command("eject", id, "--materialize");
      assert.equal(second.code, 0, second.stderr);
      const again = await node.command("inject", disk?.path ?? "");
      assert.equal(again.code, 0, again.stderr);
      await node.untilWarm(appName);
    });

    test("killed, and with containerd killed, it goes on where it was", async () => {
      const { path } = await makeInjectionDisk(scope, node.images, {
        line: "kill",
        images: [[toolName, node.images.tool]],
      });
      await node.stop("SIGKILL");
      await node.bringDisk(path, "second.erofs");
      await node.startAgent();
      await node.untilWarm(toolName, appName);
      await node.daemon.kill();
      await node.until("the trouble shows", ({ conditions }) =>
        conditions.some(({ type }) => type === "RuntimeUnavailable"),
      );
      await node.daemon.start();
      await node.daemon.ctr("-n", "k8s.io", "images", "rm", toolName);
      await node.until(
        "it is seen",
        (now) => now.conditions.length === 0 && (imageIn(now, toolName)?.disappearances ?? 0) > 0,
      );
      await node.untilWarm(toolName, appName);
      assert.equal(await node.container(toolName), "tool 1\n");
    });
  });
}
