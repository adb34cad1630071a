import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { startFaultRegistry } from "../support/fault-registry.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage } from "../support/image-maker.ts";
import { findProgram } from "../support/privileges.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../support/runtimes/injection.ts";
import {
  addNote,
  collectGarbage,
  committedSnapshots,
  type InjectionNode,
  startInjectionNode,
} from "../support/runtimes/injection-node.ts";
import { file, tar } from "../support/tar-maker.ts";
import type { Scope } from "../support/temporary.ts";

/** Images of unusual shapes: the same layer twice, none at all, capabilities of files. */

for (const runtime of await containerdRuntimes()) {
  describe(`shapes of images on ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let on: InjectionNode;
    let layout: string;
    let ground: readonly MadeLayer[];
    let images: InjectionImages;

    before(async () => {
      images = await makeInjectionImages(scope);
      layout = images.layout;
      ground = images.base.layers;
      on = await startInjectionNode(scope, runtime);
    });
    after(() => scope.disposeAsync());

    const make = (layers: readonly MadeLayer[], run: Record<string, unknown>) =>
      makeImage(layout, { layers, platform, run });
    const inject = async (...named: [string, MadeImage][]) => {
      const { path } = await makeInjectionDisk(scope, images, { images: named });
      return injectPath(on.node, path);
    };
    /** A registry that has one image as `other:v1`, and what it was asked for. */
    const registryOf = async (own: Scope, { manifest, config }: MadeImage) => {
      const registry = await startFaultRegistry({ layoutDirectory: layout, tags: { "other:v1": manifest } });
      own.defer(() => registry.stop());
      const asked = () =>
        registry.requests
          .splice(0)
          .flatMap(({ path }) => /\/blobs\/(\S+)/.exec(path)?.[1] ?? [])
          .filter((digest) => digest !== config.digest)
          .sort();
      return { name: `${registry.host}/other:v1`, asked };
    };
    const digests = (...layers: readonly MadeLayer[]) => layers.map(({ descriptor }) => descriptor.digest).sort();

    test("an image that has a layer twice runs, and pulls on its layers are right", async () => {
      await using own = new AsyncDisposableStack();
      const first = await addLayer(layout, { tar: tar(file("who", "first\n")) });
      const second = await addLayer(layout, { tar: tar(file("who", "second\n")) });
      const layers = [...ground, first, second, first];
      const name = "example.com/shape/twice:v1";
      const report = await inject([name, await make(layers, { Cmd: ["/bin/cat", "/who"] })]);
      assert.deepEqual(
        report.images.map(({ result }) => result),
        ["injected"],
      );
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: name }), "first\n");
      const last = await addNote(layout, "last");
      const made = await make([...layers, last], { Cmd: ["/bin/cat", "/who", "/last"] });
      const other = await registryOf(own, made);
      await on.cri.images.pull(other.name);
      assert.deepEqual(other.asked(), digests(last));
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: other.name }), "first\nlast\n");
    });

    test("an image that has a layer twice in the middle is pulled again without its layers, and carries others", async () => {
      await using own = new AsyncDisposableStack();
      const first = await addLayer(layout, { tar: tar(file("which", "first\n"), file("kept", "kept\n")) });
      const second = await addLayer(layout, { tar: tar(file("which", "second\n"), file(".wh.kept"), file("more")) });
      const layers = [...ground, first, second, first, await addNote(layout, "end")];
      const made = await make(layers, { Cmd: ["/bin/cat", "/which", "/kept", "/more", "/end"] });
      const same = await registryOf(own, made);
      await inject([same.name, made]);
      await collectGarbage(on.node);
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: same.name }), "first\nkept\nend\n");
      const before = await committedSnapshots(on.node);
      await on.cri.images.pull(same.name);
      await collectGarbage(on.node);
      assert.deepEqual(same.asked(), []);
      assert.deepEqual(await committedSnapshots(on.node), before);

      const roof = await addNote(layout, "roof");
      const command = ["/bin/sh", "-c", "cat /which /kept /more /roof; ls /end 2>&1 || true"];
      const other = await registryOf(own, await make([...layers.slice(0, -1), roof], { Cmd: command }));
      await on.cri.images.pull(other.name);
      assert.deepEqual(other.asked(), digests(roof));
      const output = await runPodToEnd(on.daemon, on.cri, { image: other.name, command });
      assert.match(output, /^first\nkept\nroof\nls: \/end: No such file/);
    });

    test("an image without layers is injected and runs what is mounted into it", async () => {
      const name = "example.com/shape/nothing:v1";
      const report = await inject([name, await make([], { Cmd: ["/busybox", "echo", "runs"] })]);
      assert.deepEqual(
        report.images.map(({ result, chain }) => [result, chain]),
        [["injected", "complete"]],
      );
      const mounts = [{ hostPath: busybox(), containerPath: "/busybox", readonly: true }];
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: name, mounts }), "runs\n");
    });

    test("a file's capabilities are given to who runs it", async () => {
      const name = "example.com/shape/capable:v1";
      const program = file("bin/busybox-capable", await readFile(busybox()), {
        mode: 0o755,
        xattrs: { "security.capability": netRaw },
      });
      const users = file("etc/passwd", "root:x:0:0:root:/:/bin/sh\nplain:x:1000:1000::/:/bin/sh\n");
      const layers = [...ground, await addLayer(layout, { tar: tar(users, program) })];
      await inject([name, await make(layers, { User: "1000", Cmd: [] })]);
      const effective = async (binary: string) => {
        const command = [binary, "cat", "/proc/self/status"];
        return /^CapEff:\s*(\w+)$/m.exec(await runPodToEnd(on.daemon, on.cri, { image: name, command }))?.[1];
      };
      assert.equal(await effective("/bin/busybox"), "0000000000000000");
      assert.equal(await effective("/bin/busybox-capable"), "0000000000002000");
    });
  });
}

/** CAP_NET_RAW, permitted and effective: `struct vfs_cap_data` of revision 2 (include/uapi/linux/capability.h). */
const netRaw = Buffer.from(new Uint32Array([0x02_00_00_01, 1 << 13, 0, 0, 0]).buffer);

function busybox(): string {
  const path = findProgram("busybox");
  assert.ok(path);
  return path;
}
