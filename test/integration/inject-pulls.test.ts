import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { chainIDs } from "../../src/disk/build/chain.ts";
import { type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { type MadeImage, type MadeLayer, makeImage } from "../support/image-maker.ts";
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

/** Pulls on a node with injected images, from a registry that has them too and writes down what it is asked for. */

const pinnedFrom = [
  [1, 6, 22],
  [1, 7, 3],
] as const;

for (const runtime of await containerdRuntimes()) {
  describe(`pulls by ${runtime.name} beside injected images`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let registry: FaultRegistry;
    let on: InjectionNode;
    const made = new Map<string, MadeImage>();

    before(async () => {
      images = await makeInjectionImages(scope);
      const { layout, app, tool, base } = images;
      const [ground, below] = app.layers as [MadeLayer, MadeLayer];
      const note = (name: string) => addNote(layout, `${name}-${randomUUID()}`);
      // Stacks that share nothing but busybox, which lies above, so that no chain of the first disk serves them.
      const [x, y, z] = [await note("x"), await note("y"), await note("z")];
      const add = async (name: string, layers: MadeLayer[], text = name) =>
        made.set(name, await makeImage(layout, { layers, platform, run: { Cmd: ["/bin/echo", text] } }));
      made.set("app", app).set("tool", tool).set("base", base);
      await add("on-two", [ground, below, await addNote(layout, "on-two")]);
      await add("between", [x, ground, await addNote(layout, "between")]);
      await add("on-between", [x, ground, await addNote(layout, "on-between")]);
      await add("pulled-between", [y, ground, await addNote(layout, "pulled-between")]);
      await add("with-blobs", [z, ground, await addNote(layout, "with-blobs")]);
      const tags = Object.fromEntries([...made].map(([name, { manifest }]) => [`team/${name}:v1`, manifest]));
      registry = await startFaultRegistry({ layoutDirectory: layout, tags });
      scope.defer(() => registry.stop());
      on = await startInjectionNode(scope, runtime);
      const { path } = await diskOf({ blobs: false }, "app", "tool", "base");
      await injectPath(on.node, path);
    });
    after(() => scope.disposeAsync());

    const nameOf = (image: string) => `${registry.host}/team/${image}:v1`;
    const imageOf = (name: string) => {
      const image = made.get(name);
      assert.ok(image);
      return image;
    };
    const diskOf = (options: { blobs: boolean }, ...names: string[]) =>
      makeInjectionDisk(scope, images, { ...options, images: names.map((name) => [nameOf(name), imageOf(name)]) });

    /** Digests of the blobs that were asked for since the last call, without configs. */
    const layersAsked = () => {
      const configs = new Set([...made.values()].map(({ config }) => config.digest as string));
      const asked = registry.requests
        .splice(0)
        .filter(({ method }) => method === "GET")
        .flatMap(({ path }) => /\/blobs\/(sha256:\w+)/.exec(path)?.[1] ?? [])
        .filter((digest) => !configs.has(digest));
      return [...new Set(asked)].sort();
    };
    const digests = (name: string, from: number) =>
      imageOf(name)
        .layers.slice(from)
        .map(({ descriptor }) => descriptor.digest)
        .sort();
    const ctrPull = (name: string) => on.daemon.ctr("-n", "k8s.io", "images", "pull", nameOf(name));

    test("IfNotPresent: kubelet finds the image, and injecting asked the registry for nothing", async () => {
      const status = await on.cri.images.status(nameOf("app"));
      assert.equal(status?.id, imageOf("app").config.digest);
      assert.deepEqual(registry.requests, []);
    });

    test("kubelet is told that the image is pinned, by versions that can tell", async () => {
      const status = await on.cri.images.status(nameOf("app"));
      assert.equal(status?.isPinned, knowsPins(runtime.version));
      await on.cri.images.pull(nameOf("tool"));
      assert.equal((await on.cri.images.status(nameOf("tool")))?.isPinned, knowsPins(runtime.version));
      layersAsked();
    });

    const assertPullsNothing = async (name: string, pull: () => Promise<unknown>) => {
      const before = await committedSnapshots(on.node);
      registry.requests.splice(0);
      await pull();
      const requests = registry.requests.splice(0).map(({ method, path }) => `${method} ${path}`);
      assert.ok(requests.length > 0);
      assert.deepEqual(
        requests.filter((each) => each.includes("/blobs/")),
        [],
      );
      assert.deepEqual(await committedSnapshots(on.node), before);
      assert.equal(
        await on.daemon.run({ image: nameOf(name), namespace: "k8s.io", command: ["/bin/echo", "runs"] }),
        "runs\n",
      );
    };

    test("Always: a pull over CRI transfers no layer and unpacks nothing", async () => {
      await assertPullsNothing("app", () => on.cri.images.pull(nameOf("app")));
    });

    // ctr 1.x fetches all blobs that the content store lacks before it looks at snapshots.
    const fetchesAll = runtime.version.startsWith("1.") && "ctr 1.x fetches blobs although it needs none";
    test("a pull by ctr transfers no layer and unpacks nothing", { skip: fetchesAll }, async () => {
      await assertPullsNothing("tool", () => ctrPull("tool"));
    });

    test("another image on injected layers transfers its own layer alone", async () => {
      await on.cri.images.pull(nameOf("on-two"));
      assert.deepEqual(layersAsked(), digests("on-two", 2));
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: nameOf("on-two") }), "on-two\n");
    });

    test("between the phases: a pull of a sharing image is correct, and what it brought serves both", async () => {
      const disk = await diskOf({ blobs: false }, "between");
      const first = await injectPath(on.node, disk.path, { chains: false });
      assert.deepEqual(
        first.images.map(({ result, chain }) => [result, chain]),
        [["injected", "pending"]],
      );
      await on.cri.images.pull(nameOf("on-between"));
      assert.deepEqual(layersAsked(), digests("on-between", 0));
      const second = await injectPath(on.node, disk.path);
      assert.deepEqual(
        second.images.map(({ result, chain }) => [result, chain]),
        [["present", "complete"]],
      );
      for (const image of ["between", "on-between"])
        assert.equal(await runPodToEnd(on.daemon, on.cri, { image: nameOf(image) }), `${image}\n`);

      // Only the labels of the injected image's config keep the chain now.
      await on.cri.images.remove(nameOf("on-between"));
      await collectGarbage(on.node);
      const before = await committedSnapshots(on.node);
      for (const chainID of chainIDs(imageOf("between").layers.map(({ diffID }) => diffID)))
        assert.ok(before.includes(chainID), chainID);
      await on.cri.images.pull(nameOf("between"));
      await collectGarbage(on.node);
      assert.deepEqual(layersAsked(), []);
      assert.deepEqual(await committedSnapshots(on.node), before);
    });

    test("between the phases: a pull of the image itself completes its chain, for good", async () => {
      const disk = await diskOf({ blobs: false }, "pulled-between");
      await injectPath(on.node, disk.path, { chains: false });
      await on.cri.images.pull(nameOf("pulled-between"));
      await collectGarbage(on.node);
      layersAsked();
      const before = await committedSnapshots(on.node);
      await on.cri.images.pull(nameOf("pulled-between"));
      await collectGarbage(on.node);
      assert.deepEqual(layersAsked(), []);
      const report = await injectPath(on.node, disk.path);
      assert.deepEqual(
        report.images.map(({ result, chain }) => [result, chain]),
        [["present", "complete"]],
      );
      assert.deepEqual(await committedSnapshots(on.node), before);
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: nameOf("pulled-between") }), "pulled-between\n");
    });

    test("from a disk with blobs a pull by ctr transfers none, whatever the version", async () => {
      const { path } = await diskOf({ blobs: true }, "with-blobs");
      await injectPath(on.node, path);
      await assertPullsNothing("with-blobs", () => ctrPull("with-blobs"));
    });
  });
}

/** CRI reads the label from 1.6.22, 1.7.3 and 2.0 on. */
function knowsPins(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  if (major > 1) return true;
  return pinnedFrom.some((from) => from[0] === major && from[1] === minor && patch >= from[2]);
}
