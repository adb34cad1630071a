import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { findRuntimes } from "../../src/cli/agent/find-runtimes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import type { DockerDaemon } from "../support/runtimes/docker-daemon.ts";
import { dockerRuntimes } from "../support/runtimes/docker-fleet.ts";
import { appName, makeInjectionDisk } from "../support/runtimes/injection.ts";

/** What `docker.overlay2` is needed for; a Docker with the containerd store needs no setting. */
const agentSettings = { overlay2: { docker: { overlay2: true } }, containerd: {} };

for (const runtime of await dockerRuntimes()) {
  const { name, store, reason } = runtime;
  describe(`nodewarm agent, ${name} with the ${store} store`, { skip: reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    const settings = agentSettings[store];
    let node: AgentNode;
    let docker: DockerDaemon;
    let tool: string;
    before(async () => {
      ({ node, docker } = await AgentNode.startDocker(scope, runtime));
      tool = await node.publish(node.images.tool, "team/tool:v1");
    });
    after(() => scope.disposeAsync());

    if (store === "overlay2")
      test("is found without being named only with docker.overlay2", async () => {
        const candidates = [{ kind: "docker", address: docker.address, of: "Docker" }] as const;
        await assert.rejects(findRuntimes({ runtime: "auto" }, { overlay2: false }, candidates), /overlay2 store/);
        assert.deepEqual(await findRuntimes({ runtime: "auto" }, { overlay2: true }, candidates), [
          { kind: "docker-graph", address: docker.address },
        ]);
      });

    test("makes the images of a disk and of a registry warm, and says who fetches", async () => {
      const disk = await makeInjectionDisk(scope, node.images, { images: [[appName, node.images.app]] });
      await node.bringDisk(disk.path);
      await node.configure([{ ref: tool, refresh: { interval: "10s" } }], settings);
      await node.startAgent();
      const status = await node.untilWarm(tool, appName);
      assert.equal(imageIn(status, appName)?.source, "disk");
      assert.equal(imageIn(status, tool)?.source, "registry");
      assert.equal(await docker.run(appName), "variant 1\n");
      assert.equal(await docker.run(tool), "tool 1\n");
      const { stdout } = await node.command("status");
      const says = /FetchedByRuntime: .*layers that a disk has are not reused, pulls that break off begin anew/;
      assert.equal(says.test(stdout), store === "overlay2", stdout);
    });

    test("undoes docker rmi", async () => {
      await docker.docker("rmi", tool, appName);
      await node.until("both are back", (now) =>
        [tool, appName].every((each) => (imageIn(now, each)?.disappearances ?? 0) > 0),
      );
      await node.untilWarm(tool, appName);
      assert.equal(await docker.run(appName), "variant 1\n");
      assert.equal(await docker.run(tool), "tool 1\n");
    });

    test("follows a tag that moves, beside a container of what it was", async () => {
      const container = await docker.runDetached(tool, "/bin/sleep", "300");
      await node.publish(node.images.app, "team/tool:v1");
      const moved = node.images.app.manifest.digest;
      await node.until(
        "the tag has moved",
        (now) => imageIn(now, tool)?.digest === moved && imageIn(now, tool)?.phase === "Warm",
      );
      assert.equal(await docker.run(tool), "variant 1\n");
      assert.equal(await docker.docker("exec", container, "/bin/cat", "/tool"), "tool 1\n");
      await docker.docker("rm", "--force", container);
    });

    test("goes on after the daemon was killed and started again", async () => {
      await docker.kill();
      if (store === "overlay2")
        await node.until("the trouble shows", ({ conditions }) =>
          conditions.some(({ type }) => type === "RuntimeUnavailable"),
        );
      await docker.start();
      const before = imageIn(await node.untilWarm(tool, appName), tool)?.disappearances ?? 0;
      await docker.docker("rmi", tool);
      await node.until("it is seen", (now) => (imageIn(now, tool)?.disappearances ?? 0) > before);
      const status = await node.untilWarm(tool, appName);
      assert.deepEqual(
        status.conditions.filter(({ type }) => type !== "FetchedByRuntime"),
        [],
      );
      assert.equal(await docker.run(tool), "variant 1\n");
      assert.equal(await docker.run(appName), "variant 1\n");
    });

    test("stops when it is told to, and what is warm stays", async () => {
      assert.equal(await node.stop(), 0, node.log);
      assert.equal(await docker.run(tool), "variant 1\n");
      assert.equal(await docker.run(appName), "variant 1\n");
    });
  });
}
