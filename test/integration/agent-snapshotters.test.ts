import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CriClient } from "../../src/runtime/containerd/client/cri/cri-client.ts";
import { chainID } from "../support/containerd.ts";
import { type MadeImage, pushToRegistry } from "../support/image-maker.ts";
import { needsProgram } from "../support/privileges.ts";
import { waitUntil } from "../support/processes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { connectCri, runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { makeInjectionDisk } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { makeRemoteImage } from "../support/snapshotters/remote-image.ts";
import { RemoteSnapshotter } from "../support/snapshotters/remote-snapshotter.ts";
import { snapshotterNames, snapshotterProgram } from "../support/snapshotters/snapshotter-programs.ts";
import { file, tar } from "../support/tar-maker.ts";

/** Snapshotters that are programs of their own, which unpack in their own way, or read layers while containers run. */

const bigBytes = 8 << 20;
/** A disk is read from its device, behind what others write at that time. */
const verificationMs = 180_000;

for (const name of snapshotterNames) {
  const program = await snapshotterProgram(name);
  // What differs between versions of containerd differs with each of them.
  const runtimes = (await outermostRuntimes()).slice(name === "stargz" ? 0 : -1);
  for (const runtime of runtimes) {
    const skip = runtime.reason ?? program.reason ?? needsProgram("docker-registry");
    describe(`nodewarm agent, ${runtime.name} with the ${name} snapshotter`, { skip }, () => {
      const scope = new AsyncDisposableStack();
      let big: Buffer;
      let snapshotter: RemoteSnapshotter;
      let node: AgentNode;
      let cri: CriClient;
      let tool: string;
      let remoteImage: MadeImage;
      let remote: string;
      const publishRemote = async (tag: string) => {
        big = randomBytes(bigBytes);
        const { image, index } = await makeRemoteImage(scope, name, node.images, tar(file("big", big)));
        if (index !== undefined)
          await pushToRegistry(node.images.layout, index, {
            origin: node.registry.origin,
            repository: "team/remote",
          });
        remoteImage = image;
        remote = await node.publish(image, `team/remote:${tag}`);
      };
      /** Bytes of blobs that come from the registry until it is warm. */
      const fetchRemote = async (): Promise<number> => {
        node.registry.resetCounts();
        await node.configure([{ ref: tool }, { ref: remote }]);
        await node.untilWarm(remote);
        return node.registry.sentBytes(/\/blobs\//);
      };
      const pod = (image: string, ...command: string[]) => runPodToEnd(node.daemon, cri, { image, command });
      before(async () => {
        snapshotter = await RemoteSnapshotter.start(scope, name);
        node = await AgentNode.start(scope, runtime, { proxy: snapshotter });
        await node.daemon.importRuntimeImages();
        cri = connectCri(scope, node.daemon);
        tool = await node.publish(node.images.tool, "team/tool:v1");
        await snapshotter.serves(node.daemon);
        await publishRemote("v1");
      });
      after(() => scope.disposeAsync());

      test("has the runtime pull an image of a registry, by its digest, sets the tag, and says so", async () => {
        await node.configure([{ ref: tool }]);
        await node.startAgent();
        const status = await node.untilWarm(tool);
        assert.equal(imageIn(status, tool)?.source, "registry");
        const { digest } = node.images.tool.manifest;
        const asked = node.registry.requests.filter(({ headers }) =>
          `${headers["user-agent"]}`.startsWith("containerd"),
        );
        const manifests = asked.filter(({ path }) => path.includes("/manifests/"));
        assert.ok(manifests.length > 0);
        for (const { path } of manifests) assert.ok(path.startsWith(`/v2/team/tool/manifests/${digest}`), path);
        const { stdout } = await node.command("status");
        assert.match(
          stdout,
          /FetchedByRuntime: .*layers that a disk has are not reused, pulls that break off begin anew/,
        );
        const { repoTags, repoDigests } = (await cri.images.status(tool)) ?? assert.fail();
        assert.deepEqual([repoTags, repoDigests], [[tool], [tool.replace(/:v1$/, `@${digest}`)]]);
        assert.equal(await pod(tool), "tool 1\n");
        assert.equal(await node.container(tool), "tool 1\n");
      });

      test("gives the snapshotter what it needs to leave layers of its own format in the registry", async () => {
        let bytes = await fetchRemote();
        // Garbage collection may take SOCI's index from it before it has a label; it leaves the layers to containerd then.
        if (/unable to label index/.test(await snapshotter.log())) {
          await publishRemote("v2");
          bytes = await fetchRemote();
        }
        assert.ok(bytes < bigBytes / 4, `${bytes} bytes; the snapshotter says:\n${await snapshotter.log()}`);
        if (name === "overlaybd") return;
        const digest = createHash("sha256").update(big).digest("hex");
        assert.equal(await pod(remote, "/bin/busybox", "sha256sum", "/big"), `${digest}  /big\n`);
        assert.ok(node.registry.sentBytes(/\/blobs\//) > bigBytes, "the file was not read from the registry");
      });

      test("undoes deletions of the name, and of all names", async () => {
        await node.daemon.ctr("-n", "k8s.io", "images", "rm", tool);
        await cri.images.remove(remote);
        await node.until("both are back", (now) =>
          [tool, remote].every((each) => (imageIn(now, each)?.disappearances ?? 0) > 0),
        );
        await node.untilWarm(tool, remote);
        assert.equal(await pod(tool), "tool 1\n");
      });

      test("makes a new image warm before its tag moves", async () => {
        // The registry is asked at once by an agent that starts.
        assert.equal(await node.stop(), 0, node.log);
        await node.publish(node.images.app, "team/tool:v1");
        await node.startAgent();
        const moved = node.images.app.manifest.digest;
        await node.until(
          "the tag has moved",
          (now) => imageIn(now, tool)?.digest === moved && imageIn(now, tool)?.phase === "Warm",
        );
        const [fetched = -1, named = -1] = ["fetch", "set-name"].map((action) =>
          node.log.search(new RegExp(`action-done action=${action} image=${tool} digest=${moved}`)),
        );
        assert.ok(fetched >= 0 && named > fetched, node.log);
        assert.equal(await pod(tool), "variant 1\n");
      });

      test("says that the snapshotter is gone, and goes on when it is back", async () => {
        await snapshotter.kill();
        await node.daemon.ctr("-n", "k8s.io", "images", "rm", tool);
        const { conditions } = await node.until("the trouble shows", (now) =>
          now.conditions.some(({ type }) => type === "RuntimeUnavailable"),
        );
        const says = new RegExp(`the snapshotter "${name}" does not answer containerd: start its program`);
        assert.match(conditions.map(({ message }) => message).join("\n"), says);
        const { code, stdout, stderr } = await node.command("status");
        assert.equal(code, 1);
        assert.match(stdout, new RegExp(`RuntimeUnavailable: .*"${name}" does not answer`));
        assert.match(stderr, says);
        await snapshotter.start();
        await node.until(
          "it is warm again",
          (now) =>
            !now.conditions.some(({ type }) => type === "RuntimeUnavailable") &&
            imageIn(now, tool)?.phase === "Warm" &&
            (imageIn(now, tool)?.disappearances ?? 0) > 0,
        );
        assert.equal(await pod(tool), "variant 1\n");
        if (name !== "overlaybd") assert.match(await pod(remote, "/bin/busybox", "sha256sum", "/big"), /big/);
      });

      test("waits for a snapshotter that is not there when it starts", async () => {
        assert.equal(await node.stop(), 0, node.log);
        await snapshotter.stop();
        await node.startAgent();
        await node.until("the trouble shows", (now) =>
          now.conditions.some(({ message }) => message.includes(`"${name}" does not answer`)),
        );
        await snapshotter.start();
        await node.untilWarm(tool, remote);
      });

      test("refuses to inject a disk, by the name of the snapshotter and with the way out, as doctor does", async () => {
        const both = await node.publish(node.images.base, "team/both:v1");
        const disk = await makeInjectionDisk(scope, node.images, { images: [[both, node.images.base]] });
        const { code, stderr } = await node.command("inject", disk.path);
        assert.equal(code, 1);
        assert.match(stderr, new RegExp(`the snapshotter "${name}".* set snapshotter = "overlayfs"`));
        const doctor = await node.command("doctor", "--address", node.daemon.address);
        assert.equal(doctor.code, 1);
        assert.match(doctor.stdout, new RegExp(`failure +snapshotter .*the snapshotter "${name}"`));
        assert.match(doctor.stdout, /^This node cannot be injected: 1 failure/m);
        await node.configure([{ ref: tool }, { ref: both }]);
        const place = await node.bringDisk(disk.path);
        const status = await node.until(
          "the disk is refused",
          ({ disks }) => (disks[0]?.reason ?? "").includes(`the snapshotter "${name}"`),
          verificationMs,
        );
        assert.equal(status.disks[0]?.path, place);
        const warm = await node.untilWarm(both);
        assert.equal(imageIn(warm, both)?.source, "registry");
        assert.equal(await pod(both, "/bin/echo", "runs"), "runs\n");
        await rm(place);
        await node.until("the disk is gone", ({ disks }) => disks.length === 0);
      });

      test("lets go of what nobody wants, and the snapshotter removes it", async () => {
        const top = chainID(remoteImage.layers.map(({ diffID }) => diffID));
        await waitUntil("its snapshots are gone", async () => {
          // A lease that goes makes containerd collect at once.
          await node.daemon.ctr("-n", "k8s.io", "leases", "create", "--id", "collect");
          await node.daemon.ctr("-n", "k8s.io", "leases", "delete", "--sync", "collect");
          return !(await node.daemon.ctr("-n", "k8s.io", "snapshots", "--snapshotter", name, "ls")).includes(top);
        });
        assert.equal(await cri.images.status(remote), undefined);
        assert.equal(await pod(tool), "variant 1\n");
      });

      test("gives up images when the file system of the snapshotter is too full", {
        skip: runtime.version.startsWith("1.6.") && "does not say where the snapshotter keeps its files",
      }, async () => {
        const { bsize, blocks, bavail } = await statfs(snapshotter.root);
        await writeFile(join(snapshotter.root, "ballast"), Buffer.alloc(Math.floor(bavail - blocks / 10) * bsize));
        await node.configure([{ ref: tool, gate: false }], { limits: { highWater: 75, evictAbove: 82 } });
        const status = await node.until("it is given up", (now) => imageIn(now, tool)?.phase === "Held");
        assert.deepEqual(
          imageIn(status, tool)?.conditions.map(({ type }) => type),
          ["Evicted"],
        );
        await waitUntil("its name is gone", async () => (await cri.images.status(tool)) === undefined);
        assert.equal(await node.stop(), 0, node.log);
      });
    });
  }
}
