import { readlink } from "node:fs/promises";
import { fsPath, ownedSnapshot } from "../owned-state.ts";
import type { FetchJob } from "./fetch-job.ts";
import { layersOf } from "./heal.ts";
import { findCommitted } from "./held-snapshots.ts";

/** Which of the lowest `count` layers of an image snapshots have from a disk. Throws `RuntimeError`. */
export async function layersOnDisks(
  job: Pick<FetchJob, "node" | "chain" | "image" | "repository">,
  count: number,
): Promise<ReadonlySet<number>> {
  const { node, chain } = job;
  const names: readonly string[] = chain;
  const found = new Set<number>();
  for (let name = names[count - 1] ?? ""; name !== ""; ) {
    const snapshot = await findCommitted(node, name);
    const owned = snapshot && ownedSnapshot(snapshot);
    if (owned !== undefined && names.includes(name) && (await isLink(node, owned.number)))
      for (const index of layersOf(job, owned)) found.add(index);
    name = snapshot?.parent ?? "";
  }
  return found;
}

/** To a tree below a carrier; one to a copy on the node leads to its own folder. */
async function isLink(node: FetchJob["node"], number: string): Promise<boolean> {
  const target = await readlink(node.local(fsPath(node, number))).catch(() => "");
  return /^\.\.\/\d+\/fs\//.test(target);
}
