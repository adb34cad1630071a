import { diskMountPoint } from "../host/disk-mount-point.ts";

/** A tree of a disk, as a link in Docker's folders names it. */
export type DiskLink = {
  /** Id of the disk. */
  readonly disk: string;
  /** Path on it. */
  readonly tree: string;
};

const treePattern = /^\/((?:images|layers)\/[0-9a-f]{64})$/;

export function formatDiskLink({ disk, tree }: DiskLink): string {
  return `${diskMountPoint(disk)}/${tree}`;
}

/** `undefined` for the target of a link that is none of ours. */
export function parseDiskLink(target: string): DiskLink | undefined {
  const disk = /\/([0-9a-f]{64})(?=\/)/.exec(target)?.[1];
  if (disk === undefined || !target.startsWith(`${diskMountPoint(disk)}/`)) return undefined;
  const tree = treePattern.exec(target.slice(diskMountPoint(disk).length))?.[1];
  return tree === undefined ? undefined : { disk, tree };
}
