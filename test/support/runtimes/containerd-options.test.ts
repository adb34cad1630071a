import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openContainerd } from "../../../src/runtime/containerd/client/containerd-client.ts";
import { pushToRegistry } from "../image-maker.ts";
import { needs } from "../privileges.ts";
import { waitUntil } from "../processes.ts";
import { startRegistry } from "../registry.ts";
import { temporaryDirectory } from "../temporary.ts";
import { connectCri, runPodToEnd } from "./cri-pod.ts";
import { containerdRuntimes } from "./fleet.ts";
import { makeRuntimeImages, probeImageName } from "./runtime-images.ts";

/** What a test asks of a containerd is what it does, in each version's form of configuration. */

const runtimes = await containerdRuntimes();

for (const runtime of runtimes) {
  test(`${runtime.name} pulls through a hosts folder, drops unpacked layers and unpacks with another snapshotter`, {
    skip: runtime.reason ?? needs("docker-registry"),
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const registryHosts = await temporaryDirectory(scope, "hosts");
    const layout = await temporaryDirectory(scope, "layout");
    const { probe } = await makeRuntimeImages(layout);
    const registry = await startRegistry();
    scope.defer(() => registry.stop());
    await pushToRegistry(layout, probe.manifest, { origin: registry.origin, repository: "probe", tag: "1" });
    await mkdir(join(registryHosts, "mirrored.test"));
    await writeFile(join(registryHosts, "mirrored.test/hosts.toml"), `[host."${registry.origin}"]\n`);

    const daemon = await runtime.start(scope, { snapshotter: "native", discardUnpackedLayers: true, registryHosts });
    await daemon.importRuntimeImages();
    const cri = connectCri(scope, daemon);
    await waitUntil("the imported image is gone", async () => {
      // CRI removes what it knows, and hears of an import a moment later.
      await cri.images.remove(probeImageName);
      const names = await daemon.ctr("-n", "k8s.io", "images", "ls", "-q");
      return !names.includes(probeImageName) && !names.includes(probe.config.digest);
    });
    await cri.images.pull("mirrored.test/probe:1");
    assert.equal(await runPodToEnd(daemon, cri, { image: "mirrored.test/probe:1" }), "hello from the probe\n");
    assert.match(await daemon.ctr("-n", "k8s.io", "snapshots", "--snapshotter", "native", "ls"), /Committed/);
    const [, greeting] = probe.layers;
    const digest = greeting?.descriptor.digest ?? "";
    await waitUntil("the layer's blob is collected", async () => {
      // A lease that goes makes containerd collect at once.
      await daemon.ctr("-n", "k8s.io", "leases", "create", "--id", "collect");
      await daemon.ctr("-n", "k8s.io", "leases", "delete", "--sync", "collect");
      return !(await daemon.ctr("-n", "k8s.io", "content", "ls", "-q")).includes(digest);
    });
  });

  test(`${runtime.name} shares blobs between namespaces unless told otherwise`, {
    skip: runtime.reason ?? false,
  }, async () => {
    const outcomes: string[] = [];
    for (const contentSharingPolicy of ["shared", "isolated"] as const) {
      await using scope = new AsyncDisposableStack();
      const daemon = await runtime.start(scope, { contentSharingPolicy });
      const { probe } = await daemon.importRuntimeImages();
      using client = openContainerd(daemon.address);
      const { digest, size } = probe.config;
      await client.namespaces.create("other");
      const claim = client.withNamespace("other").contentWriter.claim({ digest, sizeBytes: size });
      outcomes.push(await claim.catch((error) => String(error.code)));
    }
    assert.deepEqual(outcomes, ["written", "failed-precondition"]);
  });
}

const newest = runtimes.at(-1);

test("containerd 2.4 unpacks and runs with its EROFS snapshotter", {
  skip: newest?.reason ?? (!newest?.version.startsWith("2.4.") && "needs containerd 2.4"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const cache = await temporaryDirectory(scope, "cache");
  const daemon = await newest?.start(scope, { snapshotter: "erofs", layerContentCaches: [cache] });
  assert.ok(daemon);
  await daemon.importRuntimeImages();
  const cri = connectCri(scope, daemon);
  assert.equal(await runPodToEnd(daemon, cri, { image: probeImageName }), "hello from the probe\n");
  assert.match(await daemon.ctr("-n", "k8s.io", "snapshots", "--snapshotter", "erofs", "ls"), /Committed/);
});
