import { type InodeAttributes, type LayerOrigins, originBits, type Xattr } from "../layer-tree.ts";
import { type EntryTable, root } from "./entry-table.ts";
import { GrowingArray } from "./growing.ts";
import type { InodeTable } from "./inode-table.ts";
import { aclName, defaultAclOf } from "./xattr-policy.ts";

const setgid = 0o2000;

/**
 * Notes, while a layer's entries are applied, what `LayerOrigins` holds: where each inode was made, as the layers below may give that
 * directory a default ACL. Most layers end such that all of it follows from the tree; then nothing is kept.
 */
export class OriginRecorder {
  readonly #entries: EntryTable;
  readonly #inodes: InodeTable;
  /** Per inode as `LayerOrigins.state`; inodes past its end have 0. */
  readonly #state: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #entry: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #inode: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #from: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly #known: GrowingArray<Uint32Array<ArrayBuffer>>;
  #followsFromTree = true;

  constructor(entries: EntryTable, inodes: InodeTable, maximum: number) {
    const column = () => new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum + 2);
    this.#entries = entries;
    this.#inodes = inodes;
    this.#state = column();
    this.#entry = column();
    this.#inode = column();
    this.#from = column();
    this.#known = column();
  }

  /** An inode was made in a directory. */
  made(inode: number, directory: number): void {
    const source = this.#givenBy(directory);
    if (source > 0 && !this.#inodes.isSymbolicLink(inode)) this.#set(inode, source << originBits.shift);
  }

  /** Directory `inode` was made in `directory` because a path leads through it. */
  implied(inode: number, entry: number, directory: number): void {
    this.#inode.push(inode);
    this.#from.push(this.#givenBy(directory) * 2 + (this.#inodes.payload.items[directory] as number));
    this.#known.push(this.#inodes.attribute.items[directory] as number);
    this.#set(inode, (this.#entry.push(entry) + 1) << originBits.shift);
  }

  /** An implied directory gets its own entry: it keeps xattrs of the layers below. */
  entered(inode: number): void {
    this.#followsFromTree = false;
    this.#set(inode, this.#of(inode) | originBits.entered);
  }

  /** An entry's own ACL was set, or took one away: then none is inherited. `before`: the inode's xattrs until then. */
  ownAcl(inode: number, isDefault: boolean, isRemoved: boolean, before: readonly Xattr[]): void {
    const state = this.#of(inode);
    const bit = isDefault ? originBits.ownDefault : originBits.ownAccess;
    if (state >>> originBits.shift === 0 || (state & bit) !== 0) return;
    // Otherwise the tree alone shows whose it is: nothing but the entry can have given it.
    if (isRemoved || before.some((xattr) => aclName(xattr) !== undefined)) this.#followsFromTree = false;
    this.#set(inode, state | bit);
  }

  /** A directory that was there before has other attributes than those `before`: what it has implied so far was made in the old one. */
  changed(directory: number, before: InodeAttributes): void {
    if (!this.#followsFromTree || this.#inode.length === 0) return;
    if (!givesTheSame(before, this.#inodes.attributesOf(directory))) this.#followsFromTree = false;
  }

  /** A hard link to an inode was made in a directory. */
  linked(inode: number, directory: number): void {
    if (this.#inodes.isSymbolicLink(inode)) return;
    if (this.#of(inode) >>> originBits.shift !== this.#givenBy(directory)) this.#followsFromTree = false;
  }

  /** To be called once all entries were applied; `undefined` where all follows from the tree. Numbers of inodes are those of the table. */
  take(): LayerOrigins | undefined {
    for (let i = 0; i < this.#inode.length && this.#followsFromTree; i++) {
      if (this.#inodes.linkCount.items[this.#inode.items[i] as number] === 0) this.#followsFromTree = false;
    }
    const origins = this.#followsFromTree ? undefined : this.#pack();
    for (const column of [this.#state, this.#entry, this.#inode, this.#from, this.#known]) column.free();
    return origins;
  }

  #of(inode: number): number {
    return inode < this.#state.length ? (this.#state.items[inode] as number) : 0;
  }

  #set(inode: number, state: number): void {
    while (this.#state.length <= inode) this.#state.push(0);
    this.#state.items[inode] = state;
  }

  /** The source whose default ACL a directory gives to what is made in it, + 1; 0 where the layer's own entries decide it. */
  #givenBy(directory: number): number {
    const state = this.#of(directory);
    return (state & originBits.ownDefault) !== 0 ? 0 : state >>> originBits.shift;
  }

  #pack(): LayerOrigins {
    const numbers = new Map<number, number>();
    const sourceKnown = this.#known.items.slice(0, this.#known.length).map((known) => {
      const number = numbers.get(known) ?? numbers.size;
      numbers.set(known, number);
      return number;
    });
    return {
      ...packPaths(this.#entries, this.#entry.items.slice(0, this.#entry.length)),
      sourceFrom: this.#from.items.slice(0, this.#from.length),
      sourceKnown,
      known: [...numbers.keys()].map((number) => this.#inodes.attributes.get(number)),
      state: this.#state.items.slice(0, this.#state.length),
    };
  }
}

/** Whether what is made in directories with these attributes gets the same from them. */
function givesTheSame(a: InodeAttributes, b: InodeAttributes): boolean {
  if ((a.mode & setgid) !== (b.mode & setgid) || ((a.mode & setgid) !== 0 && a.gid !== b.gid)) return false;
  const [one, other] = [defaultAclOf(a.xattrs), defaultAclOf(b.xattrs)];
  if (one === undefined || other === undefined) return one === other;
  return Buffer.compare(one.value, other.value) === 0;
}

/** The directories on the paths of `wanted`, each once. An entry's parent has a lower number, so parents come first. */
function packPaths(
  entries: EntryTable,
  wanted: Uint32Array,
): Pick<LayerOrigins, "pathParents" | "pathNames" | "pathNameEnds" | "sourcePath"> {
  const nodes = new Uint32Array(entries.length);
  let count = 1;
  let bytes = 0;
  for (const entry of wanted)
    for (let at = entry; at !== root && nodes[at] === 0; at = entries.parent(at)) {
      nodes[at] = 1;
      count++;
      bytes += entries.name(at).length;
    }
  const pathParents = new Uint32Array(count);
  const pathNames = new Uint8Array(bytes);
  const pathNameEnds = new Uint32Array(count);
  let node = 0;
  let end = 0;
  for (let entry = 1; entry < nodes.length; entry++) {
    if (nodes[entry] === 0) continue;
    nodes[entry] = ++node;
    pathParents[node] = nodes[entries.parent(entry)] as number;
    const name = entries.name(entry);
    pathNames.set(name, end);
    end += name.length;
    pathNameEnds[node] = end;
  }
  return { pathParents, pathNames, pathNameEnds, sourcePath: wanted.map((entry) => nodes[entry] as number) };
}

/** `origins` with the numbers of inodes that `oldOfNew` gives. */
export function renumbered(origins: LayerOrigins, oldOfNew: Uint32Array): LayerOrigins {
  return { ...origins, state: Uint32Array.from(oldOfNew, (old) => origins.state[old] ?? 0) };
}
