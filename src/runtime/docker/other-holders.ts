import type { Digest } from "../../oci/descriptor.ts";
import { readMountedIndex } from "./disk-mount.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";

/** The id of the newest of some injected disks that is mounted and has a tree, for images of these configs. */
export async function findOtherHolder(
  node: DockerNode,
  records: readonly DiskRecord[],
  tree: string,
  configs: readonly Digest[],
): Promise<string | undefined> {
  const newestFirst = [...records].sort((a, b) => b.sequence - a.sequence);
  for (const { id } of newestFirst) {
    const images = (await readMountedIndex(node, id))?.images ?? [];
    const held = images.filter((image) => image.tree === tree).map(({ config }) => config.digest);
    if (held.length > 0 && configs.every((config) => held.includes(config))) return id;
  }
  return undefined;
}
