import { AgentError } from "../../agent/agent-error.ts";
import { FolderState } from "../../agent/state/folder-state.ts";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { RootFolder } from "../../publish/seed/root-folder.ts";
import type { SeedReport } from "../../publish/seed/seed-root.ts";

/** For an agent that is about to end. */
const waitMs = 1000;

/**
 * Notes in the state folder of a seeded root file system that its disks have been read in full, so that the node need not do it when it boots
 * first. Where an agent runs on the node itself, nothing is noted: it has seen the disks come. Throws `AgentError` `state-unusable` when the
 * state cannot be written, and the reason of `signal`.
 */
export async function recordSeeded(
  { root, disks }: Pick<SeedReport, "root" | "disks">,
  signal: AbortSignal,
): Promise<void> {
  if (disks.length === 0) return;
  const folder = await (await RootFolder.open(root)).local(nodeLayout.state);
  const state = await FolderState.open(folder, { signal, waitMs }).catch((error: unknown) => {
    if (error instanceof AgentError && error.code === "busy") return undefined;
    throw error;
  });
  if (state === undefined) return;
  try {
    const seeded = disks.map(({ id, path, sizeBytes }) => [id, { path, sizeBytes }] as const);
    await state.change((record) => ({
      ...record,
      seededDisks: { ...record.seededDisks, ...Object.fromEntries(seeded) },
    }));
  } finally {
    await state.close();
  }
}
