import { randomInt } from "node:crypto";
import { GrowingArray } from "./growing.ts";
import { type InodeTable, none } from "./inode-table.ts";

/** In `#nextSibling`: the entry stands in no directory's list. */
const unlisted = 0xffff_fffe;

/** Entry and inode of the root. */
export const root = 0;

/**
 * The names of a tree while it is built: each (directory, name) that ever existed is one entry, found by hash. An entry without inode
 * does not exist at present; it comes to life again when the name does.
 */
export class EntryTable {
  readonly #inodes: InodeTable;
  readonly #parent: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #inode: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #nextSibling: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #nameEnd: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #names: GrowingArray<Uint8Array<ArrayBuffer>>;
  #slots = new Uint32Array(1 << 10).fill(none);
  /** Keeps a layer's author from choosing names that share a slot. */
  readonly #seed = randomInt(2 ** 32);

  /** `inodes` must hold the root's inode as its first. */
  constructor(inodes: InodeTable, maximum: number, nameBytes: number) {
    this.#inodes = inodes;
    this.#parent = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum + 1);
    this.#inode = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum + 1);
    this.#nextSibling = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum + 1);
    this.#nameEnd = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum + 1);
    this.#names = new GrowingArray<Uint8Array<ArrayBuffer>>(Uint8Array, nameBytes);
    this.#parent.push(none);
    this.#inode.push(root);
    this.#nextSibling.push(none);
    this.#nameEnd.push(0);
    inodes.linkCount.items[root] = 1;
  }

  get length(): number {
    return this.#inode.length;
  }

  /** Bytes of all names. */
  get nameBytes(): number {
    return this.#names.length;
  }

  parent(entry: number): number {
    return this.#parent.items[entry] as number;
  }

  /** The inode of an entry, `none` when it does not exist at present. */
  inode(entry: number): number {
    return this.#inode.items[entry] as number;
  }

  name(entry: number): Uint8Array {
    return this.#names.items.subarray(this.nameStart(entry), this.#nameEnd.items[entry]);
  }

  nameStart(entry: number): number {
    return entry === 0 ? 0 : (this.#nameEnd.items[entry - 1] as number);
  }

  nameEnd(entry: number): number {
    return this.#nameEnd.items[entry] as number;
  }

  /** All names, one after the other. */
  get names(): Uint8Array {
    return this.#names.items;
  }

  /** The path of an entry from the root, without a leading slash. */
  path(entry: number): Buffer {
    const parts: Uint8Array[] = [];
    for (let at = entry; at !== root; at = this.parent(at)) parts.unshift(slash, this.name(at));
    return Buffer.concat(parts.slice(1));
  }

  /** The existing entry `path[start, end)` in directory entry `directory`, or `none`. */
  find(directory: number, path: Uint8Array, start: number, end: number): number {
    const entry = this.#slots[this.#slot(directory, path, start, end)] as number;
    return entry === none || this.inode(entry) === none ? none : entry;
  }

  /** Gives a name that does not exist at present to `inode`. Returns the entry. */
  link(directory: number, path: Uint8Array, start: number, end: number, inode: number): number {
    const slot = this.#slot(directory, path, start, end);
    let entry = this.#slots[slot] as number;
    if (entry === none) {
      entry = this.#inode.push(inode);
      this.#parent.push(directory);
      this.#nextSibling.push(unlisted);
      this.#names.append(path.subarray(start, end));
      this.#nameEnd.push(this.#names.length);
      this.#slots[slot] = entry;
      if (this.length > this.#slots.length * 0.6) this.#grow();
    }
    this.#inode.items[entry] = inode;
    if (this.#nextSibling.items[entry] === unlisted) {
      const parent = this.inode(directory);
      this.#nextSibling.items[entry] = this.#inodes.firstChild.items[parent] as number;
      this.#inodes.firstChild.items[parent] = entry;
    }
    const count = this.#inodes.linkCount.items;
    count[inode] = (count[inode] as number) + 1;
    return entry;
  }

  /** Removes an entry and, if it is a directory, all below it. Returns whether it was a directory. */
  remove(entry: number): boolean {
    const wasDirectory = this.#inodes.isDirectory(this.inode(entry));
    const pending = [entry];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      const inode = this.inode(at);
      if (inode === none) continue;
      if (this.#inodes.isDirectory(inode)) {
        let child = this.#inodes.firstChild.items[inode] as number;
        while (child !== none) {
          const next = this.#nextSibling.items[child] as number;
          this.#nextSibling.items[child] = unlisted;
          pending.push(child);
          child = next;
        }
        this.#inodes.firstChild.items[inode] = none;
      }
      this.#inode.items[at] = none;
      const count = this.#inodes.linkCount.items;
      count[inode] = (count[inode] as number) - 1;
    }
    return wasDirectory;
  }

  /** Calls `visit` for each existing entry of a directory, in no order. */
  forEachChild(directory: number, visit: (entry: number) => void): void {
    let child = this.#inodes.firstChild.items[this.inode(directory)] as number;
    while (child !== none) {
      const next = this.#nextSibling.items[child] as number;
      if (this.inode(child) !== none) visit(child);
      child = next;
    }
  }

  /** Gives all memory back; the table must not be used any more. */
  free(): void {
    this.#slots = new Uint32Array(0);
    for (const array of [this.#parent, this.#inode, this.#nextSibling, this.#nameEnd, this.#names]) array.free();
  }

  /** Gives back what only adding names needs. */
  freeSlots(): void {
    this.#slots = new Uint32Array(0);
    this.#parent.free();
  }

  #slot(directory: number, path: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(directory, path, start, end) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot] as number;
      if (entry === none || this.#equals(entry, directory, path, start, end)) return slot;
    }
  }

  #equals(entry: number, directory: number, path: Uint8Array, start: number, end: number): boolean {
    if (this.#parent.items[entry] !== directory) return false;
    const from = this.nameStart(entry);
    const length = end - start;
    if (this.nameEnd(entry) - from !== length) return false;
    const names = this.#names.items;
    for (let i = 0; i < length; i++) if (names[from + i] !== path[start + i]) return false;
    return true;
  }

  #hash(directory: number, path: Uint8Array, start: number, end: number): number {
    let state = Math.imul(directory ^ this.#seed, 0x9e37_79b1);
    state ^= state >>> 15;
    for (let i = start; i < end; i++) {
      state = Math.imul(state ^ (path[i] as number), 0x85eb_ca6b);
      state ^= state >>> 13;
    }
    state = Math.imul(state, 0xc2b2_ae35);
    return (state ^ (state >>> 16)) >>> 0;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2).fill(none);
    const mask = slots.length - 1;
    const names = this.#names.items;
    for (let entry = 1; entry < this.length; entry++) {
      let slot = this.#hash(this.parent(entry), names, this.nameStart(entry), this.nameEnd(entry)) & mask;
      while (slots[slot] !== none) slot = (slot + 1) & mask;
      slots[slot] = entry;
    }
    this.#slots = slots;
  }
}

const slash = Buffer.from("/");
