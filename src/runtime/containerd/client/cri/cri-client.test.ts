import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../../../../../test/support/processes.ts";
import type { ContainerdDaemon } from "../../../../../test/support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../../../../../test/support/runtimes/fleet.ts";
import { probeImageName } from "../../../../../test/support/runtimes/runtime-images.ts";
import { type CriClient, openCri } from "./cri-client.ts";
import { namespaceModes } from "./cri-messages.ts";
import type { PodSandboxConfig } from "./cri-pods.ts";

/** The CRI of every containerd that the tests run: pods and containers as kubelet makes them. */

for (const runtime of await containerdRuntimes()) {
  describe(`CRI of ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let client: CriClient;
    let probeID: string;

    before(async () => {
      daemon = await runtime.start(scope);
      client = openCri(daemon.endpoint);
      scope.defer(async () => client.close());
      probeID = (await daemon.importRuntimeImages()).probe.config.digest;
    });
    after(() => scope.disposeAsync());

    const podConfig = (name: string): PodSandboxConfig => ({
      metadata: { name, uid: `uid-${name}`, namespace: "default" },
      labels: { app: "test" },
      linux: {
        cgroupParent: daemon.cgroupParent,
        securityContext: { namespaceOptions: { network: namespaceModes.node, pid: namespaceModes.container } },
      },
    });

    test("version and status", async () => {
      const version = await client.runtime.version();
      assert.equal(version.runtimeName, "containerd");
      assert.equal(version.runtimeApiVersion, "v1");
      assert.ok(version.runtimeVersion.includes(runtime.version));
      const plain = await client.runtime.status();
      assert.deepEqual(plain.info, {});
      const met = plain.conditions.filter(({ status }) => status).map(({ type }) => type);
      assert.ok(met.includes("RuntimeReady") && met.includes("NetworkReady"), JSON.stringify(plain.conditions));
      if (!runtime.version.startsWith("1.")) assert.ok(plain.handlers.some(({ name }) => name === "runc"));
      const config = JSON.parse((await client.runtime.status({ verbose: true })).info.config ?? "");
      assert.equal(config.containerd.snapshotter ?? config.snapshotter ?? "overlayfs", "overlayfs");
    });

    test("images are found by name and id, listed, and removed", async () => {
      await waitUntil(
        "the CRI knows the image",
        async () => (await client.images.status(probeImageName)) !== undefined,
      );
      const image = await client.images.status(probeImageName);
      assert.equal(image?.id, probeID);
      assert.deepEqual(image?.repoTags, [probeImageName]);
      assert.ok((image?.sizeBytes ?? 0) > 0);
      assert.equal(image?.isPinned, false);
      assert.deepEqual(await client.images.status(probeID), image);
      assert.equal((await client.images.list()).length, 2);
      assert.equal(await client.images.status("nodewarm.test/none:1"), undefined);
      await client.images.remove("nodewarm.test/none:1");
      await daemon.ctr("-n", "k8s.io", "images", "tag", probeImageName, "nodewarm.test/second:1");
      await waitUntil("the CRI knows the second name", async () => {
        return (await client.images.status("nodewarm.test/second:1")) !== undefined;
      });
    });

    test("a pull that cannot work says why", async () => {
      await assert.rejects(client.images.pull("127.0.0.1:1/none:1"), { message: /127\.0\.0\.1:1/ });
    });

    test("a container of a pod runs, tells, is executed in, stops and goes", async () => {
      const { pods, containers, inspection } = client;
      const sandbox = podConfig("pod");
      const podID = await pods.run(sandbox);
      const config = {
        metadata: { name: "main" },
        image: { image: probeImageName },
        command: ["/bin/sleep"],
        args: ["1000"],
        envs: [{ key: "GREETING", value: "hello" }],
        labels: { role: "main" },
      };
      const id = await containers.create(podID, config, sandbox);
      assert.equal((await inspection.status(id)).state, "created");
      await containers.start(id);
      assert.equal((await inspection.status(id)).state, "running");
      const [listed, ...others] = await inspection.list({ podID });
      assert.deepEqual(others, []);
      assert.deepEqual([listed?.id, listed?.podSandboxId, listed?.name, listed?.state], [id, podID, "main", "running"]);
      assert.equal(listed?.image, probeImageName);

      const command = ["sh", "-c", "echo $GREETING; echo world >&2; exit 3"];
      const result = await inspection.exec(id, command, { timeoutMs: 10_000 });
      assert.equal(result.exitCode, 3);
      assert.equal(Buffer.from(result.stdout).toString(), "hello\n");
      assert.equal(Buffer.from(result.stderr).toString(), "world\n");
      await assert.rejects(inspection.exec(id, ["sleep", "100"], { timeoutMs: 1_000 }), { code: "deadline-exceeded" });

      await containers.stop(id, { graceSeconds: 0 });
      const status = await inspection.status(id);
      assert.deepEqual([status.state, status.exitCode], ["exited", 137]);
      await containers.remove(id);
      await assert.rejects(inspection.status(id), { code: "not-found" });
      await pods.stop(podID);
      await pods.remove(podID);
      assert.deepEqual(await inspection.list(), []);
    });

    test("what a container is made of must be there", async () => {
      const sandbox = podConfig("none");
      const config = { metadata: { name: "main" }, image: { image: probeImageName } };
      await assert.rejects(client.containers.create("no-such-pod", config, sandbox), { code: "not-found" });
    });

    test("a removed image is gone under all its names", async () => {
      await client.images.remove(probeImageName);
      assert.equal(await client.images.status("nodewarm.test/second:1"), undefined);
      assert.equal(await client.images.status(probeID), undefined);
    });
  });
}
