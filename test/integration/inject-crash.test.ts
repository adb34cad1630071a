import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isRuntimeError } from "../../src/runtime/runtime-error.ts";
import { assertComplete, injectedOutputs, startListed } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../support/runtimes/injection.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/**
 * An injection that ends before any of its changes, by SIGKILL to itself or to containerd, leaves nothing that could be started and is
 * wrong, and the next call completes it. Each end has a namespace of its own, so that it begins with nothing.
 */

const program = join(import.meta.dirname, "../support/runtimes/inject-until-change.ts");

/** Ends at once, to be done with them sooner. */
const endsAtOnce = 3;

for (const runtime of await containerdRuntimes()) {
  if (runtime.version.startsWith("1.7.") || runtime.version.startsWith("2.1.")) continue;
  describe(`inject into ${runtime.name} and stop anywhere`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let disk: string;
    let compiled: string;

    before(async () => {
      const images = await makeInjectionImages(scope);
      disk = (await makeInjectionDisk(scope, images, { blobs: true })).path;
      daemon = await runtime.start(scope);
      compiled = await temporaryDirectory(scope, "compiled");
    });
    after(() => scope.disposeAsync());

    /** The changes of a whole injection, in order. */
    async function changes(): Promise<string[]> {
      await using of = new AsyncDisposableStack();
      const steps: string[] = [];
      const node = await openTestNode(of, daemon, "whole");
      await injectPath(node, disk, {}, (step) => steps.push(step));
      return steps;
    }

    test("killed before any change", async () => {
      const stops = stopsAt(await changes(), runtime.version.startsWith("1.") ? 1 : 2);
      let started = 0;
      const work = stops.entries();
      const next = async (): Promise<void> => {
        for (const [i, stop] of work) {
          const where = `before change ${stop.nth} of "${stop.change}"`;
          started += await killedBefore(stop, i).catch((cause) => assert.fail(`${where}: ${cause.stack}`));
        }
      };
      await Promise.all(Array.from({ length: endsAtOnce }, next));
      assert.ok(started > 0, "no image was ever usable before the end");
    });

    async function makeVariant(variant: string): Promise<string> {
      const images = await makeInjectionImages(scope, variant);
      return (await makeInjectionDisk(scope, images, { blobs: true })).path;
    }

    async function killedBefore({ change, nth }: Stop, i: number): Promise<number> {
      await using of = new AsyncDisposableStack();
      const namespace = `killed-${i}`;
      // Files of contents serve all namespaces, so these changes are made for new contents alone.
      const variant = /^(link|sync) blob|^(write|place) document/.test(change) ? `1 of ${namespace}` : "1";
      const path = variant === "1" ? disk : await makeVariant(variant);
      const args = [program, daemon.address, namespace, path, change, String(nth)];
      const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
      const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"], env });
      const [, signal] = await once(child, "exit");
      assert.equal(signal, "SIGKILL");

      const node = await openTestNode(of, daemon, namespace);
      // Whether or not containerd collects before the next call must not matter.
      if (i % 2 === 0) await collect(node);
      const started = await startListed(daemon, node, undefined, variant);
      await assertComplete(node, await injectPath(node, path, { signal: AbortSignal.timeout(20_000) }));
      await collect(node);
      assert.deepEqual(await startListed(daemon, node, [appName], variant), [appName]);
      return started.length;
    }

    test("containerd killed before a change", async () => {
      for (const step of ["commit carrier", "link", "record", "claim blob"]) {
        await using of = new AsyncDisposableStack();
        const namespace = `lost-${step.replace(" ", "-")}`;
        const node = await openTestNode(of, daemon, namespace);
        let isKilled = false;
        const failing = injectPath(node, disk, {}, (name) => {
          if (name !== step || isKilled || daemon.pid === undefined) return;
          isKilled = true;
          process.kill(daemon.pid, "SIGKILL");
        });
        if (step === "remove lease") await failing;
        else
          await assert.rejects(failing, (error) => {
            assert.ok(isRuntimeError(error, "unavailable"), `${step}: ${error}`);
            assert.match(error.message, /containerd/);
            return true;
          });
        await daemon.stop();
        await daemon.start();
        const again = await openTestNode(of, daemon, namespace);
        await assertComplete(again, await injectPath(again, disk));
        assert.deepEqual(await startListed(daemon, again), [...injectedOutputs().keys()]);
      }
    });
  });
}

/** The nth change of a kind. */
type Stop = { readonly change: string; readonly nth: number };

/** Of each kind of change the first `each` ones: from the second on they are in the middle of a batch. */
function stopsAt(steps: readonly string[], each: number): Stop[] {
  return [...new Set(steps)].flatMap((change) => {
    const count = steps.filter((step) => step === change).length;
    return Array.from({ length: Math.min(each, count) }, (_, i) => ({ change, nth: i + 1 }));
  });
}

/** Makes containerd collect what nothing refers to. */
async function collect(node: Awaited<ReturnType<typeof openTestNode>>): Promise<void> {
  await node.in.leases.create("collect");
  await node.in.leases.delete("collect", { sync: true });
}
