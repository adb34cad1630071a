import assert from "node:assert/strict";
import { readFile, readlink, stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { fsPath, readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { chainID } from "../support/containerd.ts";
import { PowerCutNode, powerCuts, type Recording } from "../support/power-cut/power-cut-node.ts";
import { recorderReason } from "../support/power-cut/recorded-device.ts";
import { seededRandom } from "../support/random.ts";
import { assertComplete, injectedOutputs, startListed } from "../support/runtimes/check-injected.ts";
import { eject, outermostRuntimes } from "../support/runtimes/ejection.ts";
import {
  appName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
} from "../support/runtimes/injection.ts";

/**
 * The power goes while a disk is injected or ejected, replayed at the level of blocks: containerd's files lie on a device that remembers every
 * write and every flush, and the machine starts again from what the device had at some moment of that.
 */

const cutsOfInjection = 24;
const cutsOfEjection = 12;

const noRecorder = await recorderReason();
const seed = Number(process.env.NODEWARM_TEST_SEED ?? Date.now() % 2 ** 31);

for (const runtime of await outermostRuntimes()) {
  describe(`power cuts, ${runtime.name}, NODEWARM_TEST_SEED=${seed}`, { skip: runtime.reason ?? noRecorder }, () => {
    const scope = new AsyncDisposableStack();
    let node: PowerCutNode;
    let images: InjectionImages;
    let disk: string;
    /** A device that has been in use. */
    let used: string;

    before(async () => {
      images = await makeInjectionImages(scope);
      disk = (await makeInjectionDisk(scope, images, { blobs: true })).path;
      const older = await makeInjectionDisk(scope, await makeInjectionImages(scope, "older"), { blobs: true });
      node = await PowerCutNode.start(scope, runtime);
      // Databases that have grown already write over what they have, and then nothing but us makes the file system sync.
      used = await node.prepare(async (containerd) => {
        await injectPath(containerd, older.path);
        await eject(containerd);
      });
    });
    after(() => scope.disposeAsync());

    async function cutEach(
      recording: Recording,
      count: number,
      check: (containerd: ContainerdNode) => Promise<void>,
    ): Promise<void> {
      for (const cut of powerCuts(recording, count, seededRandom(seed))) {
        const { length } = recording.requests;
        const where = `after request ${cut.after} of ${recording.begin} to ${length}${cut.random ? ", cache lost" : ""}`;
        await node
          .afterPowerCut(recording, cut, check)
          .catch((cause) => assert.fail(`seed ${seed}, ${where}: ${cause.stack}`));
      }
    }

    test("while a disk is injected: what is listed starts, and the next injection completes", async () => {
      const recording = await node.record(used, async (containerd) => {
        await injectPath(containerd, disk);
      });
      const listed: number[] = [];
      await cutEach(recording, cutsOfInjection, async (containerd) => {
        const names = new Set((await containerd.in.images.list()).map(({ name }) => name));
        await assertLinked(containerd);
        const wanted = [...injectedOutputs().keys()].filter((name) => names.has(name));
        assert.deepEqual(await startListed(node.daemon, containerd), wanted, "an image is listed and does not start");
        listed.push(wanted.length);
        await assertComplete(containerd, await injectPath(containerd, disk));
        await assertLinked(containerd);
        assert.deepEqual(await startListed(node.daemon, containerd, [appName]), [appName]);
      });
      assert.ok(listed.includes(0) && listed.includes(3), `images that were listed: ${listed.join(", ")}`);
    });

    test("while a disk is ejected whose trees are copied: what stands on them keeps its files", async () => {
      const injected = await node.prepare(async (containerd) => {
        await injectPath(containerd, disk);
        const top = chainID(images.app.layers.map(({ diffID }) => diffID));
        await containerd.snapshotWriter.prepare("user", { parent: top, labels: { "containerd.io/gc.root": "1" } });
      }, used);
      const recording = await node.record(injected, async (containerd) => {
        await eject(containerd, { materialize: true });
      });
      await cutEach(recording, cutsOfEjection, async (containerd) => {
        await assertUserReads(containerd);
        await eject(containerd, { materialize: true });
        await assertUserReads(containerd);
        const { owned } = await readOwnedState(containerd);
        assert.deepEqual(
          [...owned.values()].filter(({ role }) => role === "carrier"),
          [],
        );
      });
    });
  });
}

/** Every snapshot of ours that stands for a folder of a disk is a link to it. */
async function assertLinked(node: ContainerdNode): Promise<void> {
  const { owned } = await readOwnedState(node);
  for (const { name, number, tree } of owned.values()) {
    if (tree === "") continue;
    const path = node.local(fsPath(node, number));
    assert.match(await readlink(path).catch(() => "no link"), new RegExp(`/fs/${tree}$`), `snapshot ${name}`);
    assert.ok((await stat(path)).isDirectory());
  }
}

/** The snapshot `user` shows the files of the image that it was made from. */
async function assertUserReads(node: ContainerdNode): Promise<void> {
  const mounts = await node.snapshots.mounts("user");
  const lower = mounts.flatMap(({ options }) => options).find((option) => option.startsWith("lowerdir="));
  const [top = ""] = lower?.slice("lowerdir=".length).split(":") ?? [];
  assert.equal(await readFile(`${node.local(top)}/data/variant`, "utf8"), "variant 1\n");
}
