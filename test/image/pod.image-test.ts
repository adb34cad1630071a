import assert from "node:assert/strict";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CriClient } from "../../src/runtime/containerd/client/cri/cri-client.ts";
import { type AgentImage, importAgentImage, makeAgentImage } from "../support/agent-image.ts";
import { disksOf, succeed } from "../support/cli.ts";
import { needs } from "../support/privileges.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { connectCri, type Pod, runPod, runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { appName, makeInjectionDisk, makeInjectionImages, platform, toolName } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const skip = needs("dpkg-deb");
const fixtures = new AsyncDisposableStack();
let image: AgentImage;

before(async () => {
  if (skip) return;
  image = await makeAgentImage(fixtures);
});
after(() => fixtures.disposeAsync());

for (const runtime of await outermostRuntimes()) {
  describe(`the image in pods of ${runtime.name}`, { skip: skip || (runtime.reason ?? false) }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let cri: CriClient;
    let name: string;

    before(async () => {
      daemon = await runtime.start(scope);
      await daemon.importRuntimeImages();
      cri = connectCri(scope, daemon);
      name = await importAgentImage(scope, image, daemon, cri);
    });
    after(() => scope.disposeAsync());

    /** With the paths of the host at the same places. */
    const pod = (paths: readonly string[], args: readonly string[]) => ({
      image: name,
      args,
      mounts: paths.map((path) => ({ hostPath: path, containerPath: path })),
    });

    test("runs without a word on how", async () => {
      assert.equal(await runPodToEnd(daemon, cri, pod([], ["--version"])), `nodewarm ${image.version}\n`);
    });

    test("builds the disk that the sources build", async () => {
      const work = await temporaryDirectory(scope, "work");
      await image.smallLayout(work, platform.architecture === "arm64" ? "arm64" : "amd64");
      const build = (name: string) => ["build", `oci:${work}/layout:small`, "-o", `${work}/${name}`, "--json"];
      const stdout = await runPodToEnd(daemon, cri, pod([work], build("inside.erofs")));
      const inside = disksOf({ code: 0, stderr: "", stdout: stdout.slice(stdout.indexOf("{")) });
      const [outside] = disksOf(await succeed(build("outside.erofs"), { cwd: work }));
      assert.equal(inside[0]?.id, outside?.id);
    });

    test("injects into the containerd that runs it, with the socket and the disk alone, and ejects", async () => {
      const images = await makeInjectionImages(scope);
      const disk = await makeInjectionDisk(scope, images);
      const inside = (...args: readonly string[]) =>
        runPodToEnd(daemon, cri, {
          ...pod([daemon.address, dirname(disk.path)], [...args, "--address", daemon.address]),
          ofNode: true,
        });
      assert.match(await inside("doctor"), /This node can be injected/);
      assert.match(await inside("inject", disk.path), /3 images; usable after/);
      assert.equal(await daemon.run({ namespace: "k8s.io", image: appName }), "variant 1\n");
      assert.match(await inside("status"), new RegExp(`^disk +${disk.id}$`, "m"));
      assert.match(await inside("eject", disk.id), /3 images; released/);
      await assert.rejects(daemon.run({ namespace: "k8s.io", image: appName }), /not found/);
    });

    test("injects with /run and containerd's root mounted, and what it holds then is said", async () => {
      const images = await makeInjectionImages(scope, "2");
      const disk = await makeInjectionDisk(scope, images);
      const paths = ["/run", daemon.directory, dirname(disk.path)];
      const inside = (...args: readonly string[]) =>
        runPodToEnd(daemon, cri, { ...pod(paths, [...args, "--address", daemon.address]), ofNode: true });
      assert.match(await inside("inject", disk.path), /3 images; usable after/);
      assert.equal(await daemon.run({ namespace: "k8s.io", image: toolName }), "tool 2\n");
      // The pod got copies of the mounts when it began, and so holds the disk itself until it ends.
      assert.match(await inside("eject", disk.id), /not released yet: held by .*container [0-9a-f]{64}/);
    });

    test("a command runs beside the one that a pod was made for", async () => {
      const running = await waitingPod();
      try {
        assert.equal(await running.exec("nodewarm", "--version"), `nodewarm ${image.version}\n`);
        await assert.rejects(running.exec("sh", "-c", "true"), /sh/);
        await assert.rejects(running.exec("mount"), /mount/);
      } finally {
        await running.remove();
      }
    });

    function waitingPod(): Promise<Pod> {
      const command = ["/usr/bin/node", "-e", "setTimeout(() => {}, 1e6)"];
      return runPod(daemon, cri, { image: name, command });
    }
  });
}
