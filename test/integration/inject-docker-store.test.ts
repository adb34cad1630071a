import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ContainerdNode, dockerNamespace } from "../../src/runtime/containerd/containerd-node.ts";
import type { DockerDaemon } from "../support/runtimes/docker-daemon.ts";
import { dockerRuntimes } from "../support/runtimes/docker-fleet.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../support/runtimes/injection.ts";

const runtimes = (await dockerRuntimes()).filter(({ store }) => store === "containerd");

for (const runtime of runtimes) {
  describe(`inject into ${runtime.name} with the containerd store`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let docker: DockerDaemon;
    let node: ContainerdNode;
    let images: InjectionImages;
    let path: string;

    before(async () => {
      images = await makeInjectionImages(scope);
      ({ path } = await makeInjectionDisk(scope, images));
      docker = await runtime.start(scope, { store: "containerd" });
      node = await openTestNode(scope, docker.containerd, dockerNamespace);
    });
    after(() => scope.disposeAsync());

    test("docker lists and runs the images under their names", async () => {
      const report = await injectPath(node, path);
      assert.deepEqual(new Set(report.images.map(({ result }) => result)), new Set(["injected"]));
      assert.deepEqual(
        report.conditions.map(({ type }) => type),
        ["NoLayerBlobs"],
      );
      assert.match(report.conditions[0]?.message ?? "", /push, save and export .* not possible.*--blobs/);
      const listed = await docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}");
      assert.deepEqual(listed.trim().split("\n").sort(), [appName, baseName, toolName]);
      assert.equal(await docker.run(appName), "variant 1\n");
      assert.equal(await docker.run(toolName), "tool 1\n");
    });

    test("the daemon's restart changes nothing", async () => {
      await docker.restart();
      assert.equal(await docker.run(appName), "variant 1\n");
      assert.match(await docker.docker("history", appName), /IMAGE/);
    });

    test("docker counts and shows images whose lower layers stand on something else", async () => {
      const app = images.app.manifest.digest.slice("sha256:".length, "sha256:".length + 12);
      assert.match(await docker.docker("history", "--no-trunc", appName), /IMAGE/);
      assert.match(await docker.docker("image", "ls", "--digests"), new RegExp(app));
      const usage = await docker.docker("system", "df", "--verbose");
      assert.match(usage, /SHARED SIZE/);
      assert.match(usage, new RegExp(appName.slice(0, appName.indexOf(":"))));
      assert.match(await docker.docker("image", "inspect", appName), new RegExp(images.app.manifest.digest));
    });

    test("docker rmi takes an image away, and injecting again brings it back", async () => {
      await docker.docker("rmi", toolName);
      await assert.rejects(docker.docker("image", "inspect", toolName));
      const report = await injectPath(node, path);
      assert.deepEqual(
        report.images.map(({ result }) => result),
        ["present", "injected", "present"],
      );
      assert.equal(await docker.run(toolName), "tool 1\n");
    });
  });
}
