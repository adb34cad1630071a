import { readFile } from "node:fs/promises";
import { indexName } from "../../disk/index-document.ts";
import { type DiskIndex, parseDiskIndex } from "../../disk/reader/disk-index.ts";
import type { Digest } from "../../oci/descriptor.ts";
import { diskMountPoint } from "../containerd/ownership.ts";
import { isMounted } from "./disk-mount.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";

/** The index of a disk that is mounted; `undefined` when it is not, or cannot be read. */
export async function readMountedIndex(node: DockerNode, id: string): Promise<DiskIndex | undefined> {
  if (!(await isMounted(node, id))) return undefined;
  const path = node.local(`${diskMountPoint(id)}/${indexName}`);
  try {
    const index = parseDiskIndex(await readFile(path), path);
    return index.id === id ? index : undefined;
  } catch {
    return undefined;
  }
}

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
