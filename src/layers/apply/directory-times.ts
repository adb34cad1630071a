import { LayerError, printableName } from "../layer-error.ts";
import type { EntryTable } from "./entry-table.ts";
import { GrowingArray } from "./growing.ts";
import { type InodeTable, none } from "./inode-table.ts";
import type { LinkResolver } from "./link-resolver.ts";

/** Bytes of names kept for directories that were reached through links. */
const maximumKeptBytes = 64 * 2 ** 20;

/**
 * Times of directories are set after all entries, by name, as containerd does: where a directory was replaced meanwhile, the time goes
 * to what stands at its name then, and an entry whose name leads nowhere any more makes the layer unusable.
 */
export class DirectoryTimes {
  readonly #entries: EntryTable;
  readonly #inodes: InodeTable;
  readonly #links: LinkResolver;
  readonly #recorded: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #seconds: GrowingArray<Float64Array<ArrayBuffer>>;
  readonly #nanoseconds: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #throughLinks = new Map<number, Uint8Array>();
  #keptBytes = 0;
  #isNeeded = false;

  constructor(entries: EntryTable, inodes: InodeTable, links: LinkResolver, maximum: number) {
    this.#recorded = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.#seconds = new GrowingArray<Float64Array<ArrayBuffer>>(Float64Array, maximum);
    this.#nanoseconds = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.#entries = entries;
    this.#inodes = inodes;
    this.#links = links;
  }

  /** Notes a directory entry of the tar, whose time its inode has; `path` where it was reached through links. */
  record(entry: number, path: Uint8Array | undefined): void {
    const inode = this.#entries.inode(entry);
    if (path !== undefined) {
      this.#keptBytes += path.length;
      if (this.#keptBytes > maximumKeptBytes)
        throw new LayerError("refused-entry", "too many directories are reached through symbolic links");
      this.#throughLinks.set(this.#recorded.length, new Uint8Array(path));
      this.#isNeeded = true;
    }
    this.#recorded.push(entry);
    this.#seconds.push(this.#inodes.mtimeSeconds.items[inode] as number);
    this.#nanoseconds.push(this.#inodes.mtimeNanoseconds.items[inode] as number);
  }

  /** A directory was removed: names may lead elsewhere. */
  directoryGone(): void {
    this.#isNeeded = true;
  }

  /** Sets the times. Does nothing when every directory stands where its entry put it. */
  apply(): void {
    const count = this.#isNeeded ? this.#recorded.length : 0;
    for (let index = 0; index < count; index++) {
      const inode = this.#inodeNow(this.#recorded.items[index] as number, this.#throughLinks.get(index));
      if (this.#inodes.isDirectory(inode) && this.#inodes.payload.items[inode] === 1) continue;
      this.#inodes.setTime(inode, this.#seconds.items[index] as number, this.#nanoseconds.items[index] as number);
    }
    this.#recorded.free();
    this.#seconds.free();
    this.#nanoseconds.free();
  }

  #inodeNow(entry: number, path: Uint8Array | undefined): number {
    const here = this.#entries.inode(entry);
    if (path === undefined && here !== none && this.#inodes.isDirectory(here)) return here;
    const name = path === undefined ? this.#entries.path(entry) : Buffer.from(path);
    try {
      const found = this.#links.find(this.#links.resolve(name.toString("latin1")));
      if (found !== none) return this.#entries.inode(found);
    } catch (error) {
      if (!(error instanceof LayerError)) throw error;
    }
    throw new LayerError(
      "refused-entry",
      `tar entry ${printableName(name)}: the directory is gone at the end of the layer, and with it the place for its time`,
    );
  }
}
