import type { DeviceNumber } from "./device-number.ts";
import type { DiskSource } from "./disk-source.ts";
import { HostError } from "./host-error.ts";
import { type MountEntry, MountTable } from "./mount-table.ts";
import type { MountedDisk, Mounts, UnmountOptions } from "./mounts.ts";

/** The major number of loop devices (Linux Documentation/admin-guide/devices.txt). */
const loopMajor = 7;

const root: MountEntry = {
  id: 1,
  parentId: 1,
  device: { major: 8, minor: 1 },
  root: "/",
  mountPoint: "/",
  options: ["rw"],
  optionalFields: [],
  type: "ext4",
  source: "/dev/sda1",
  superOptions: ["rw"],
};

/** Mounts that are only written down. */
export class MemoryMounts implements Mounts {
  #table: MountEntry[] = [root];
  #lastId = root.id;
  readonly #devices = new Map<string, DeviceNumber>();
  readonly #held = new Set<string>();

  async mountDisk({ path }: Pick<DiskSource, "path" | "kind" | "sizeBytes">, target: string): Promise<MountedDisk> {
    const device = this.#devices.get(path) ?? { major: loopMajor, minor: this.#devices.size };
    this.#devices.set(path, device);
    const isNew = this.#add(target, { device, root: "/", type: "erofs", source: path, options: ["ro", "nodev"] });
    return { device, isNew };
  }

  async bind(source: string, target: string): Promise<void> {
    const below = new MountTable(this.#table).containing(source) ?? root;
    const inside = source.slice(below.mountPoint === "/" ? 0 : below.mountPoint.length);
    this.#add(target, { ...below, root: `${below.root === "/" ? "" : below.root}${inside}` || "/" });
  }

  async unmount(target: string, { detach = false }: UnmountOptions = {}): Promise<boolean> {
    const table = new MountTable(this.#table);
    const mounted = table.at(target);
    if (mounted === undefined) return false;
    const isBusy = this.#held.has(target) || table.entries.some(({ parentId }) => parentId === mounted.id);
    if (isBusy && !detach) {
      const holders = table.below(target).map(({ mountPoint }) => `the mount ${mountPoint}`);
      throw new HostError(
        "busy",
        `${target} cannot be unmounted, as it is in use by ${holders.join(", ") || "a process"}`,
      );
    }
    const gone = new Set([mounted.id]);
    for (const { id, parentId } of this.#table) if (gone.has(parentId)) gone.add(id);
    this.#table = this.#table.filter(({ id }) => !gone.has(id));
    return true;
  }

  async table(): Promise<MountTable> {
    return new MountTable(this.#table);
  }

  /** As if a process had a file open below the mount at `target`, until the function that comes back is called. */
  hold(target: string): () => void {
    this.#held.add(target);
    return () => this.#held.delete(target);
  }

  /** False when the same is mounted there already. */
  #add(target: string, mount: Pick<MountEntry, "device" | "root" | "type" | "source" | "options">): boolean {
    const table = new MountTable(this.#table);
    const before = table.at(target);
    if (before !== undefined) {
      const { device, root: folder } = before;
      if (device.major === mount.device.major && device.minor === mount.device.minor && folder === mount.root)
        return false;
      throw new HostError(
        "occupied",
        `${target}: something else is mounted there (${before.source}); unmount it first`,
      );
    }
    const { device, root: folder, type, source, options } = mount;
    const parentId = (table.containing(target) ?? root).id;
    const entry = { device, root: folder, type, source, options, mountPoint: target, parentId };
    this.#table.push({ ...entry, id: ++this.#lastId, optionalFields: [], superOptions: ["ro"] });
    return true;
  }
}
