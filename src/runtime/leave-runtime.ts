import type { FoundRuntime } from "./discovery.ts";
import { openNodeRuntime } from "./open-runtime.ts";
import type { EjectEvent, EjectReport } from "./runtime.ts";

export type LeaveOptions = {
  readonly signal: AbortSignal;
  readonly onEvent?: (event: EjectEvent) => void;
};

export type LeaveReport = {
  readonly runtime: string;
  readonly disks: EjectReport["disks"];
  /** Names that were ours or pinned by us, and are the node's now. */
  readonly releasedNames: readonly string[];
};

/**
 * Leaves a runtime so that it works without us: images that are in use are copied from their disks, fetched ones stay as if pulled, and no
 * mark, pin, lease or spool of ours is left. No agent may run. Done again it goes on where it was. Throws `RuntimeError` and `HostError`.
 */
export async function leaveRuntime(found: FoundRuntime, { signal, onEvent }: LeaveOptions): Promise<LeaveReport> {
  const { runtime, images, clearFetches, close } = await openNodeRuntime(found);
  try {
    const { disks } = await runtime.eject({
      wait: false,
      materialize: true,
      signal,
      ...(onEvent !== undefined && { onEvent }),
    });
    const observed = await images.observe({ signal });
    const ours = observed.images.filter(({ origin, isPinned }) => origin.from !== "elsewhere" || isPinned);
    // Pins of others stay: only what carries our mark is released.
    for (const { name } of ours) await images.release(name, "unpin", { signal });
    await clearFetches();
    return { runtime: runtime.name, disks, releasedNames: ours.map(({ name }) => name) };
  } finally {
    await close();
  }
}
