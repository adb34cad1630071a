import type { DeviceNumber } from "./device-number.ts";
import type { DiskSource } from "./disk-source.ts";
import type { MountTable } from "./mount-table.ts";

export type MountedDisk = {
  /** That of the mounted file system, as the mount table has it. */
  readonly device: DeviceNumber;
  /** False when it was mounted there already. */
  readonly isNew: boolean;
};

export type UnmountOptions = {
  /** Takes the mount out of sight at once, and ends it when nothing uses it any more (`MNT_DETACH`). Default: fails while in use. */
  readonly detach?: boolean;
};

/**
 * What Nodewarm mounts, in one mount namespace. Paths are absolute, without links and `..`; mount points are folders that
 * exist. Every method may be called again after it succeeded, and by several programs at once. All throw `HostError`.
 */
export interface Mounts {
  /**
   * Mounts a disk read-only and without devices. Codes: `occupied` when something else is mounted on `target`,
   * `not-supported` without EROFS in the kernel, `permission`, `refused` when the kernel does not take the bytes.
   */
  mountDisk(source: Pick<DiskSource, "path" | "kind" | "sizeBytes">, target: string): Promise<MountedDisk>;
  /**
   * Shows the folder `source` at `target` too, with the flags of the mount that it lies on, and nothing mounted below it.
   * Code `occupied` when something else is mounted on `target`.
   */
  bind(source: string, target: string): Promise<void>;
  /**
   * Removes the uppermost mount on `target`; false when there is none. Code `busy`, with who holds it, while it is in use or
   * has mounts below it.
   */
  unmount(target: string, options?: UnmountOptions): Promise<boolean>;
  table(): Promise<MountTable>;
}
