/** Folder in which a disk is mounted, in the mount namespace of the runtime. */
export function diskMountPoint(diskID: string): string {
  return `${diskMountFolder}/${diskID}`;
}

/** Folder of the mount points. */
export const diskMountFolder = "/run/nodewarm/disks";

/** Of that folder and the mount points: only root passes, since the trees of a disk hold setuid programs. */
export const diskMountMode = 0o700;
