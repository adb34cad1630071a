import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceNumber, decodeDeviceNumber, sameDevice } from "./device-number.ts";
import type { DiskSource } from "./disk-source.ts";
import { HostError } from "./host-error.ts";
import { openLoopDevice } from "./loop-device.ts";
import { mountError, unmountError } from "./mount-errors.ts";
import { type MountNamespace, ownMountNamespace } from "./mount-namespace.ts";
import type { MountEntry, MountTable } from "./mount-table.ts";
import type { MountedDisk, Mounts, UnmountOptions } from "./mounts.ts";
import { imageLayerContext } from "./selinux.ts";
import { callHere, errorCode } from "./system-calls.ts";

/** include/uapi/linux/mount.h. */
const mountFlags = { readOnly: 1, noDevices: 4, bind: 4096 } as const;
/** include/linux/fs.h: `MNT_DETACH`, `UMOUNT_NOFOLLOW`. */
const unmountFlags = { detach: 2, noFollow: 8 } as const;
/** include/uapi/asm-generic/fcntl.h. */
const lockExclusive = 2;
const lockNonBlocking = 4;

const lockTimeoutMs = 30_000;
const lockPollMs = 10;

type BlockDevice = { readonly path: string; readonly device: DeviceNumber; close(): Promise<void> };

/** The mounts of a namespace, changed by system calls. Needs root. */
export class SystemMounts implements Mounts {
  readonly #namespace: MountNamespace;

  /** Does not close `namespace`. */
  constructor(namespace: MountNamespace = ownMountNamespace) {
    this.#namespace = namespace;
  }

  async mountDisk(source: Pick<DiskSource, "path" | "kind" | "sizeBytes">, target: string): Promise<MountedDisk> {
    const context = await imageLayerContext();
    return this.#locked(target, async () => {
      const block = await openBlockDevice(source);
      try {
        const before = (await this.table()).at(target);
        if (before !== undefined) {
          if (sameDevice(before.device, block.device)) return { device: block.device, isNew: false };
          throw occupied(target, before);
        }
        const flags = mountFlags.readOnly | mountFlags.noDevices;
        const data = context === undefined ? null : `context="${context}"`;
        try {
          await this.#namespace.call("mount", block.path, target, "erofs", flags, data);
        } catch (error) {
          throw mountError(error, source.path, target, block.path);
        }
        return { device: block.device, isNew: true };
      } finally {
        await block.close();
      }
    });
  }

  async bind(source: string, target: string): Promise<void> {
    await this.#locked(target, async () => {
      const table = await this.table();
      const before = table.at(target);
      if (before !== undefined) {
        const wanted = table.containing(source);
        if (wanted !== undefined && shows(before, wanted, source)) return;
        throw occupied(target, before);
      }
      try {
        await this.#namespace.call("mount", source, target, null, mountFlags.bind, null);
      } catch (error) {
        throw mountError(error, source, target, source);
      }
    });
  }

  async unmount(target: string, { detach = false }: UnmountOptions = {}): Promise<boolean> {
    const mounted = (await this.table()).at(target);
    if (mounted === undefined) return false;
    try {
      await this.#namespace.call("umount2", target, unmountFlags.noFollow | (detach ? unmountFlags.detach : 0));
      return true;
    } catch (error) {
      // Another program was faster.
      const table = await this.table();
      if (errorCode(error) === "EINVAL" && table.at(target) === undefined) return false;
      throw await unmountError(error, mounted, table, this.#namespace.processId);
    }
  }

  table(): Promise<MountTable> {
    return this.#namespace.table();
  }

  /**
   * Of two programs that find nothing mounted both would mount, one on top of the other. So whoever looks and mounts holds the
   * lock of the folder around the mount point, which the kernel lets go when the program ends.
   */
  async #locked<Result>(target: string, work: () => Promise<Result>): Promise<Result> {
    const path = dirname(target);
    const folder = await open(this.#namespace.localPath(path), "r").catch((error: unknown) => {
      throw mountError(error, target, target, path);
    });
    try {
      await lock(folder.fd, path);
      return await work();
    } finally {
      await folder.close();
    }
  }
}

async function lock(fd: number, path: string): Promise<void> {
  for (const end = Date.now() + lockTimeoutMs; ; await sleep(lockPollMs)) {
    try {
      callHere("flock", fd, lockExclusive | lockNonBlocking);
      return;
    } catch (error) {
      if (errorCode(error) !== "EAGAIN") throw error;
    }
    if (Date.now() > end) {
      throw new HostError(
        "busy",
        `${path}: another program has held its lock for ${lockTimeoutMs / 1000} s; end that program`,
      );
    }
  }
}

/** The device that holds a disk; for a file a loop device, which is held until the mount holds it. */
async function openBlockDevice({
  path,
  kind,
  sizeBytes,
}: Pick<DiskSource, "path" | "kind" | "sizeBytes">): Promise<BlockDevice> {
  try {
    if (kind === "file") return await openLoopDevice(path, sizeBytes);
    const { rdev } = await stat(path);
    return { path, device: decodeDeviceNumber(rdev), close: async () => {} };
  } catch (error) {
    throw error instanceof HostError ? error : mountError(error, path, path, path);
  }
}

/** Whether what is mounted is the folder `path`, which lies on the mount `below`. */
function shows(mounted: MountEntry, below: MountEntry, path: string): boolean {
  const inside = path.slice(below.mountPoint === "/" ? 0 : below.mountPoint.length);
  const root = `${below.root === "/" ? "" : below.root}${inside}` || "/";
  return sameDevice(mounted.device, below.device) && mounted.root === root;
}

function occupied(target: string, { type, source, device }: MountEntry): HostError {
  return new HostError(
    "occupied",
    `${target}: something else is mounted there (${type} from ${source || "nothing"}, device ${device.major}:${device.minor}); unmount it first`,
  );
}
