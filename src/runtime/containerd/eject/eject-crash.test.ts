import assert from "node:assert/strict";
import { test } from "node:test";
import { eject, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { type InjectionNode, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import type { Scope } from "../../../../test/support/temporary.ts";
import type { EjectOptions } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";

const namespace = "k8s.io";

const runtime = (await outermostRuntimes()).at(-1);
const skip = runtime === undefined ? "there is no containerd" : (runtime.reason ?? false);

/** Thrown at a step, as if the program had been killed there. */
class Stopped extends Error {}

type Case = {
  readonly name: string;
  /** What is injected, after it was made once; the disks to eject. */
  prepare(scope: Scope, node: InjectionNode, images: InjectionImages): Promise<() => Promise<Partial<EjectOptions>>>;
  /** A command that has to work after each interruption, and at the end; with what is taken away then. */
  readonly container: boolean;
};

const cases: readonly Case[] = [
  {
    name: "a disk with layer blobs",
    container: false,
    async prepare(scope, { node }, images) {
      const { path } = await makeInjectionDisk(scope, images, { blobs: true, images: twoImages(images) });
      return async () => {
        await injectPath(node, path);
        return {};
      };
    },
  },
  {
    name: "one of two disks that share images",
    container: false,
    async prepare(scope, { node }, images) {
      const first = await makeInjectionDisk(scope, images, { blobs: true, images: twoImages(images) });
      const second = await makeInjectionDisk(scope, images, {
        blobs: true,
        images: [
          [appName, images.app],
          [toolName, images.tool],
        ],
      });
      return async () => {
        await injectPath(node, first.path);
        await injectPath(node, second.path);
        return { disks: [first.id] };
      };
    },
  },
  {
    name: "a disk in use",
    container: true,
    async prepare(scope, { node }, images) {
      const { path } = await makeInjectionDisk(scope, images, { images: twoImages(images) });
      return async () => {
        await injectPath(node, path);
        return { materialize: true };
      };
    },
  },
];

for (const { name, prepare, container } of cases) {
  test(`ejecting ${name} can be interrupted at every step`, { skip }, async () => {
    assert.ok(runtime !== undefined);
    await using scope = new AsyncDisposableStack();
    const started = await startInjectionNode(scope, runtime);
    const { daemon, node } = started;
    const images = await makeInjectionImages(scope);
    const inject = await prepare(scope, started, images);
    const before = await listNode(node);
    /** Steps of the whole, and which of them to stop at: the first of each name, and the last where containers do not make it slow. */
    const steps: string[] = [];
    const isEnd = (step: string, index: number) =>
      steps.indexOf(step) === index || (!container && steps.lastIndexOf(step) === index);
    for (let stopAt = -1; stopAt < steps.length; stopAt++) {
      if (stopAt >= 0 && !isEnd(steps[stopAt] ?? "", stopAt)) continue;
      const options = await inject();
      const id = container ? await runSleeper(started) : undefined;
      let count = 0;
      const ended = eject(node, options, (step) => {
        if (stopAt < 0) steps.push(step);
        else if (count++ === stopAt) throw new Stopped();
      });
      if (stopAt < 0) await ended;
      else await assert.rejects(ended, Stopped);
      const when = stopAt < 0 ? "uninterrupted" : `stopped at ${stopAt}: ${steps[stopAt]}`;
      if (id !== undefined) assert.equal(await readInside(started, id), "variant 1\n", when);
      // All that can be said of the disk is done in the second call, where the first had not come to the end.
      if (stopAt >= 0) await eject(node, options).catch(unlessKnownNoMore);
      if (options.disks !== undefined) {
        assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n", when);
        await eject(node);
      }
      if (id !== undefined) {
        assert.equal(await readInside(started, id), "variant 1\n");
        await removeSleeper(started, id);
        await eject(node);
      }
      assert.deepEqual(await listNode(node), before, when);
    }
    assert.ok(new Set(steps).size >= 8, steps.join());
  });
}

function twoImages(images: InjectionImages): (readonly [string, InjectionImages["app"]])[] {
  return [
    [appName, images.app],
    [baseName, images.base],
  ];
}

/** The call that was stopped had removed all but what no longer belongs to a disk. */
function unlessKnownNoMore(error: unknown): void {
  if (!isRuntimeError(error, "not-found")) throw error;
}

async function runSleeper({ daemon }: InjectionNode): Promise<string> {
  return daemon.runDetached({ namespace, image: appName, command: ["/bin/sleep", "1000"] });
}

async function readInside({ daemon }: InjectionNode, id: string): Promise<string> {
  return daemon.ctr("-n", namespace, "tasks", "exec", "--exec-id", "read", id, "/bin/cat", "/data/variant");
}

/** And the image, if it stayed for the container. */
async function removeSleeper({ daemon, cri }: InjectionNode, id: string): Promise<void> {
  await daemon.ctr("-n", namespace, "tasks", "delete", "--force", id);
  await daemon.ctr("-n", namespace, "containers", "delete", id);
  await cri.images.remove(appName);
}
