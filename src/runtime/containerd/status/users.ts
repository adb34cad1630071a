import type { User } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";

/** Who stands on snapshots of ours and is not ours, by the id of the disk. Throws `RuntimeError`. */
export async function findUsers(node: ContainerdNode, state: OwnedState): Promise<Map<string, User[]>> {
  const containers = new Map<string, string>();
  for (const { id, snapshotKey, snapshotter } of await node.in.containers.list())
    if (snapshotter === node.snapshotter) containers.set(snapshotKey, id);
  const users = new Map<string, User[]>();
  for (const { name, parent } of state.snapshots.values()) {
    const below = state.owned.get(parent);
    if (below === undefined || below.tree === "" || state.owned.has(name) || state.unfinished.includes(name)) continue;
    const container = containers.get(name);
    const user: User = container === undefined ? { kind: "snapshot", name } : { kind: "container", name: container };
    const of = users.get(below.disk) ?? [];
    of.push(user);
    users.set(below.disk, of);
  }
  return users;
}
