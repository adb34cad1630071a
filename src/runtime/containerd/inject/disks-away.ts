import { isDeviceGone } from "../../host/block-devices.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { fsPath, type OwnedState } from "../owned-state.ts";

/** Ids of the injected disks, but for one, that are not mounted, or whose device was detached: nothing can be started from them. */
export async function disksAway(
  node: Pick<ContainerdNode, "mounts" | "snapshotsFolder">,
  state: Pick<OwnedState, "owned">,
  but: string,
): Promise<ReadonlySet<string>> {
  const carriers = [...state.owned.values()].filter(({ role, disk }) => role === "carrier" && disk !== but);
  const away = new Set<string>();
  if (carriers.length === 0) return away;
  const table = await node.mounts.table();
  for (const { disk, number } of carriers) {
    const mounted = table.at(fsPath(node, number));
    if (mounted === undefined || (await isDeviceGone(mounted.device))) away.add(disk);
  }
  return away;
}
