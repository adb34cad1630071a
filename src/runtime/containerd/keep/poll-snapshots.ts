import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChangeQueue } from "../../change-queue.ts";
import type { ContainerdNode } from "../containerd-node.ts";

/**
 * Tells when the committed snapshots are others than before: for versions of containerd whose garbage collection sends no events. Throws
 * `RuntimeError`, or the reason of the signal.
 */
export async function pollSnapshots(
  { snapshots }: Pick<ContainerdNode, "snapshots">,
  queue: ChangeQueue,
  signal: AbortSignal,
  intervalMs: number,
): Promise<never> {
  for (let before: string | undefined; ; await sleep(intervalMs, undefined, { signal })) {
    const names: string[] = [];
    for await (const { name, kind } of snapshots.list([], { signal })) if (kind === "committed") names.push(name);
    const now = createHash("sha256").update(names.sort().join("\n")).digest("base64");
    if (before !== undefined && before !== now) queue.push({ type: "changed" });
    before = now;
  }
}
