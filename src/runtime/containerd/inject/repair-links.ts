import { mkdir, readlink } from "node:fs/promises";
import { dirname } from "node:path";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { fsPath, linkTarget } from "../owned-state.ts";
import type { InjectJob } from "./job.ts";
import { sideBySide } from "./side-by-side.ts";

/**
 * Compares the link of every snapshot of this disk with what it must be and puts it right: a power cut can leave an empty folder where the
 * record says that a tree is, and a container would start without it. Anything else than a link or an empty folder is left, and told.
 */
export async function repairLinks({ node, open, state, carrier, atStep }: InjectJob): Promise<void> {
  let repaired = 0;
  const ours = [...state.owned.values()].filter(({ disk, tree }) => disk === open.disk.id && tree !== "");
  atStep("repair");
  await sideBySide(ours, async ({ number, tree }) => {
    const path = node.local(fsPath(node, number));
    const target = linkTarget(carrier, tree);
    const found = await readlink(path).catch(() => undefined);
    if (found === target) return;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    if (await swapInLink(path, target)) repaired++;
  });
  if (repaired > 0) await syncFilesystem(node.local(node.snapshotsFolder));
}
