import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { lstat, readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { mountAll } from "../../src/runtime/containerd/mount-all.ts";
import { carrierOf, fsPath, readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { label } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { addLayer, type MadeImage, makeImage } from "../support/image-maker.ts";
import { startInMountNamespace } from "../support/mount-namespace.ts";
import { run, waitUntil } from "../support/processes.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { eject } from "../support/runtimes/ejection.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../support/runtimes/injection.ts";
import { type InjectionNode, startInjectionNode } from "../support/runtimes/injection-node.ts";
import { file, tar } from "../support/tar-maker.ts";

/** What befalls disks and injected images on nodes beside the plain course of things. */

const largeBytes = 48 << 20;

for (const runtime of await containerdRuntimes()) {
  describe(`in real life, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let large: MadeImage;
    let registry: FaultRegistry;
    let disk: { readonly path: string; readonly id: string };
    let on: InjectionNode;
    let written: { readonly containerd: number; readonly here: number };

    before(async () => {
      images = await makeInjectionImages(scope);
      const { layout, app, base } = images;
      const bytes = await addLayer(layout, { tar: tar(file("large", randomBytes(largeBytes))), compression: "none" });
      const layers = [...base.layers, bytes];
      large = await makeImage(layout, { layers, platform, run: { Cmd: ["/bin/stat", "-c", "%s", "/large"] } });
      const tags = { "team/app:v1": app.manifest, "team/large:v1": large.manifest };
      registry = await startFaultRegistry({ layoutDirectory: layout, tags });
      scope.defer(() => registry.stop());
      disk = await makeInjectionDisk(scope, images, {
        images: [
          [nameOf("app"), app],
          [nameOf("large"), large],
        ],
      });
      on = await startInjectionNode(scope, runtime);
      const counts = async () => ({
        containerd: await bytesWritten(on.node.pid),
        here: await bytesWritten(process.pid),
      });
      const first = await counts();
      await injectPath(on.node, disk.path);
      const then = await counts();
      written = { containerd: then.containerd - first.containerd, here: then.here - first.here };
    });
    after(() => scope.disposeAsync());

    const nameOf = (image: string) => `${registry.host}/team/${image}:v1`;

    test("what is written is no byte of the images' data", async () => {
      assert.ok(written.containerd < largeBytes / 4, `containerd has written ${written.containerd} bytes`);
      assert.ok(written.here < largeBytes / 4, `injecting has written ${written.here} bytes`);
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: nameOf("large") }), `${largeBytes}\n`);
    });

    test("a pod reads the image's files, finds hidden ones hidden, writes over them, and leaves them to the next", async () => {
      const script = [
        "cat /data/variant; ls /data /opaque; stat -c '%u:%g %a' /owned /setuid",
        "echo over > /data/stays && cat /data/stays; echo back > /data/gone && cat /data/gone",
        "echo more >> /opaque/above && cat /opaque/above",
      ].join("; ");
      const expected = [
        "variant 1",
        ...["/data:", "stays", "variant", "", "/opaque:", "above"],
        ...["1234:5678 640", "0:0 4755", "over", "back", "above", "more"],
      ];
      const command = ["/bin/sh", "-c", script];
      for (let pod = 0; pod < 2; pod++) {
        const said = await runPodToEnd(on.daemon, on.cri, { image: nameOf("app"), command });
        assert.deepEqual(said.trim().split("\n"), expected);
      }
      const said = await on.daemon.run({ image: nameOf("app"), namespace: "k8s.io", command });
      assert.deepEqual(said.trim().split("\n"), expected);
    });

    test("with the disk away the runtime has index, manifest and config, and a pull finds all it needs", async () => {
      const state = await readOwnedState(on.node);
      const carrier = carrierOf(state, disk.id);
      assert.ok(carrier);
      await on.daemon.stop();
      for (const path of [fsPath(on.node, carrier.number), diskMountPoint(disk.id)]) await run("umount", [path]);
      await on.daemon.start();
      const ours = state.blobs.filter(({ labels }) => labels[label.disk] === disk.id);
      assert.equal(ours.length, 4);
      for (const { digest } of ours)
        assert.ok((await lstat(`${on.node.blobsFolder}/sha256/${digest.slice("sha256:".length)}`)).isFile());
      registry.requests.splice(0);
      await on.cri.images.pull(nameOf("app"));
      assert.deepEqual(
        registry.requests.filter(({ path }) => path.includes("/blobs/")),
        [],
      );
      await assert.rejects(on.daemon.run({ image: nameOf("app"), namespace: "k8s.io" }));
      await mountAll({ snapshotsFolders: [on.node.snapshotsFolder] });
      assert.equal(await on.daemon.run({ image: nameOf("app"), namespace: "k8s.io" }), "variant 1\n");
    });

    const injectAnother = async () => {
      const named = [[`example.com/${randomUUID()}:v1`, images.tool]] as const;
      const other = await makeInjectionDisk(scope, images, { images: named });
      await injectPath(on.node, other.path);
      return other;
    };
    const isAttached = async (path: string) => (await run("losetup", ["-j", path])).trim() !== "";

    test("a mount namespace of its own does not keep the device: its mounts go with the folders that they are on", async () => {
      const other = await injectAnother();
      await using inner = new AsyncDisposableStack();
      const pid = await startInMountNamespace(inner);
      const mounts = async () => (await readFile(`/proc/${pid}/mountinfo`, "utf8")).includes(other.id);
      assert.ok(await mounts());
      const { disks } = await eject(on.node, { disks: [other.id] });
      assert.deepEqual(
        disks.map(({ isReleased, heldBy }) => ({ isReleased, heldBy })),
        [{ isReleased: true, heldBy: [] }],
      );
      assert.equal(await mounts(), false);
      assert.equal(await isAttached(other.path), false);
    });

    test("a process of such a namespace that is on the disk is named, and released is not said until it has ended", async () => {
      const other = await injectAnother();
      await using inner = new AsyncDisposableStack();
      const pid = await startInMountNamespace(inner, "private", diskMountPoint(other.id));
      const { disks } = await eject(on.node, { disks: [other.id] });
      assert.deepEqual(
        disks.map(({ isReleased, heldBy }) => ({ isReleased, heldBy })),
        [{ isReleased: false, heldBy: [{ kind: "process", name: `${pid} (sleep)` }] }],
      );
      assert.ok(await isAttached(other.path));
      await inner.disposeAsync();
      await waitUntil("the device is free", async () => !(await isAttached(other.path)));
    });
  });
}

/** Bytes that a process has had written to storage (`proc_pid_io(5)`, write_bytes). */
async function bytesWritten(pid: number): Promise<number> {
  return Number(/^write_bytes: (\d+)$/m.exec(await readFile(`/proc/${pid}/io`, "utf8"))?.[1]);
}
