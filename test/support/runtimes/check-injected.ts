import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { readOwnedState } from "../../../src/runtime/containerd/owned-state.ts";
import { label } from "../../../src/runtime/containerd/ownership.ts";
import type { InjectReport } from "../../../src/runtime/runtime.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";
import { appName, baseName, toolName } from "./injection.ts";

/** What the images of `makeInjectionImages` say when they are started. */
export const injectedOutputs = (variant = "1"): ReadonlyMap<string, string> =>
  new Map([
    [appName, `variant ${variant}\n`],
    [toolName, `tool ${variant}\n`],
    [baseName, "base\n"],
  ]);

/** Starts what is listed: each must say what it says after a pull, or not start at all. Returns the names of those that started. */
export async function startListed(
  daemon: ContainerdDaemon,
  node: ContainerdNode,
  names: readonly string[] = [...injectedOutputs().keys()],
  variant = "1",
): Promise<string[]> {
  const listed = new Set((await node.in.images.list()).map(({ name }) => name));
  const started: string[] = [];
  for (const [image, expected] of injectedOutputs(variant)) {
    if (!listed.has(image) || !names.includes(image)) continue;
    const start = () => daemon.run({ image, namespace: node.namespace }).catch(() => undefined);
    // Under load ctr was seen to end with 0 and print nothing; none of these programs can do that themselves.
    const said = (await start()) || (await start());
    if (said === undefined) continue;
    assert.equal(said, expected, `${image} is wrong`);
    started.push(image);
  }
  return started;
}

/** All images of the disk are there with their chains, and nothing of an unfinished call is left. */
export async function assertComplete(node: ContainerdNode, report: InjectReport): Promise<void> {
  assert.deepEqual(new Set(report.images.map(({ chain }) => chain)), new Set(["complete"]));
  assert.ok(report.images.every(({ result }) => result !== "skipped"));
  const state = await readOwnedState(node);
  assert.deepEqual(state.unfinished, []);
  const leases = await node.in.leases.list();
  assert.deepEqual(
    leases.filter(({ labels }) => labels[label.lease] !== undefined),
    [],
  );
  for (const { number } of state.owned.values()) {
    const names = await readdir(node.local(`${node.snapshotsFolder}/${number}`));
    assert.deepEqual(
      names.filter((name) => name.startsWith(".fs")),
      [],
      `strays in snapshot ${number}`,
    );
  }
}
