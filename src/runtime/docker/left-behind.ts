import type { Digest } from "../../oci/descriptor.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import type { EngineContainer } from "./engine-client.ts";

/**
 * A container that runs keeps the disk on which it was started, wherever its layer leads by now, and nothing in the kernel tells which. So
 * containers are written down when their layer is led elsewhere; as long as they were not started again they hold the old disk.
 */
export type LeftBehind = DiskRecord["leftBehind"][number];

/** The containers that run on some layers. */
export async function leftBehindOn(
  node: DockerNode,
  running: ReadonlyMap<Digest, readonly EngineContainer[]>,
  layers: Iterable<Digest>,
  signal: AbortSignal,
): Promise<LeftBehind[]> {
  const found: LeftBehind[] = [];
  for (const layer of layers) {
    for (const { id, name } of running.get(layer) ?? []) {
      const startedAt = await node.engine.runningSince(id, signal);
      if (startedAt !== undefined) found.push({ container: id, name, startedAt });
    }
  }
  return found;
}

/** Those that still run as they did then. */
export async function stillLeftBehind(
  node: DockerNode,
  { leftBehind }: DiskRecord,
  signal: AbortSignal,
): Promise<LeftBehind[]> {
  const found: LeftBehind[] = [];
  for (const each of leftBehind) {
    if ((await node.engine.runningSince(each.container, signal)) === each.startedAt) found.push(each);
  }
  return found;
}

export function usersOf(leftBehind: readonly LeftBehind[]): User[] {
  return leftBehind.map(({ name }) => ({ kind: "container", name }));
}

export function mergeLeftBehind(one: readonly LeftBehind[], other: readonly LeftBehind[]): LeftBehind[] {
  return [...new Map([...one, ...other].map((each) => [each.container, each])).values()];
}
