import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { findAgent } from "../../src/agent/serve/control-client.ts";
import type { AgentStatus } from "../../src/agent/status.ts";
import { type AgentImage, importAgentImage, makeAgentImage } from "../support/agent-image.ts";
import { startSharedMountNamespace } from "../support/mount-namespace.ts";
import { needs } from "../support/privileges.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { connectCri, type Pod, runPod } from "../support/runtimes/cri-pod.ts";
import { appName, makeInjectionDisk } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";

const skip = needs("dpkg-deb");
const fixtures = new AsyncDisposableStack();
let image: AgentImage;

before(async () => {
  if (skip) return;
  image = await makeAgentImage(fixtures);
});
after(() => fixtures.disposeAsync());

for (const runtime of await outermostRuntimes()) {
  describe(`the agent in a pod of ${runtime.name}`, { skip: skip || (runtime.reason ?? false) }, () => {
    const scope = new AsyncDisposableStack();
    let node: AgentNode;
    let pod: Pod;
    let startPod: () => Promise<Pod>;
    let fetched: string;
    let disk: { readonly id: string };

    before(async () => {
      // Where mounts are shared, as systemd makes them, and where no file of the node is reached but through the runtime.
      const mountNamespaceOf = await startSharedMountNamespace(scope);
      node = await AgentNode.start(scope, runtime, { mountNamespaceOf });
      const { daemon } = node;
      await daemon.importRuntimeImages();
      const cri = connectCri(scope, daemon);
      const name = await importAgentImage(scope, image, daemon, cri);

      const made = await makeInjectionDisk(scope, node.images, { images: [[appName, node.images.app]], blobs: true });
      disk = made;
      await node.bringDisk(made.path);
      fetched = await node.publish(node.images.tool, "team/tool:v1");
      await node.configure([{ ref: fetched, refresh: { interval: "10s" } }]);

      // As docs/agent-image.md has it; the folder of the socket holds containerd's root too, and `node.folder` is all of /var/lib/nodewarm.
      const folders = [daemon.directory, node.folder, "/run/nodewarm", "/dev"];
      const mounts = folders.map((path) => ({ hostPath: path, containerPath: path, hostToContainer: true }));
      startPod = async () => {
        const started = await runPod(daemon, cri, { image: name, args: node.words(), mounts, ofNode: true });
        pods.push(started);
        return started;
      };
      const pods: Pod[] = [];
      // Before what it uses is cleared away.
      scope.defer(async () => {
        for (const each of pods) await each.remove().catch(() => {});
      });
      pod = await startPod();
    });
    after(() => scope.disposeAsync());

    async function untilWarm(...names: readonly string[]): Promise<void> {
      await node.untilWarm(...names).catch(async (error: Error) => {
        throw new Error(`${error.message}\n${await pod.output()}`, { cause: error });
      });
    }

    /** Until the agent has noticed, and made good. */
    async function removeAndWait(...names: readonly string[]): Promise<void> {
      const disappearances = (status: AgentStatus, name: string) => imageIn(status, name)?.disappearances ?? 0;
      const before = await node.until("the agent answers", () => true);
      for (const name of names) await node.daemon.ctr("-n", "k8s.io", "images", "rm", "--sync", name);
      await node.until(`${names.join(", ")} were missed`, (status) =>
        names.every((name) => disappearances(status, name) > disappearances(before, name)),
      );
      await untilWarm(...names);
    }

    test("images of the disk and of the registry become warm, and start", async () => {
      await untilWarm(appName, fetched);
      assert.equal(await node.container(appName), "variant 1\n");
      assert.equal(await node.container(fetched), "tool 1\n");
    });

    test("its socket answers the node's own commands, and those in the pod", async () => {
      const outside = await node.command("status");
      assert.equal(outside.code, 0, outside.stderr);
      assert.match(outside.stdout, /^gate +open/m);
      const inside = await pod.exec("nodewarm", "status", "--socket", node.socket);
      assert.match(inside, /example\.com\/team\/app:v1 +Warm +disk /);
    });

    test("what is deleted comes back, from the disk and from the registry", async () => {
      await removeAndWait(appName, fetched);
      assert.equal(await node.container(appName), "variant 1\n");
      assert.equal(await node.container(fetched), "tool 1\n");
    });

    test("a tag that moves is followed", async () => {
      await node.publish(node.images.app, "team/tool:v1");
      const { digest } = node.images.app.manifest;
      await node.until("the tag has moved", (status) => {
        const now = imageIn(status, fetched);
        return now?.phase === "Warm" && now.digest === digest;
      });
      assert.equal(await node.container(fetched), "variant 1\n");
    });

    test("a runtime that is started again stays warm", async () => {
      await node.daemon.restart();
      await removeAndWait(appName);
      assert.equal(await node.container(appName), "variant 1\n");
    });

    test("another pod takes over from one that ends, which leaves the images as they are", async () => {
      await pod.remove();
      assert.equal(await findAgent(node.socket, AbortSignal.timeout(10_000)), undefined);
      assert.equal(await node.container(appName), "variant 1\n");
      pod = await startPod();
      await untilWarm(appName, fetched);
    });

    test("a disk that is ejected is released at once: the pod does not hold what the runtime has let go", async () => {
      await node.configure([]);
      await node.until("nothing is listed any more", (status) => status.images.every(({ sets }) => sets.length === 0));
      // Names that CRI has made of what was fetched, on layers of the disk, stay: what they need is copied.
      const { code, stdout, stderr } = await node.command("eject", disk.id, "--materialize");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /released/);
      assert.doesNotMatch(stdout, /not released/);
      await assert.rejects(node.container(appName), /not found/);
    });
  });
}
