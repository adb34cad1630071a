import { fileType, type InodeAttributes, noContent, type Xattr } from "../layer-tree.ts";
import type { LayerLimits } from "../limits.ts";
import { AttributeTable } from "./attribute-table.ts";
import { GrowingArray } from "./growing.ts";

/** No entry, no inode. */
export const none = 0xffff_ffff;

/** Inodes of a tree while it is built. Numbers are never used twice; those without links are left out when the tree is sealed. */
export class InodeTable {
  readonly attributes: AttributeTable;
  readonly attribute: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly mtimeSeconds: GrowingArray<Float64Array<ArrayBuffer>>;
  readonly mtimeNanoseconds: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly linkCount: GrowingArray<Uint32Array<ArrayBuffer>>;
  /** As `LayerTree.payload`; link targets by their order of creation. */
  readonly payload: GrowingArray<Uint32Array<ArrayBuffer>>;
  /** Of directories: the entry that was added last, `none` without entries. */
  readonly firstChild: GrowingArray<Uint32Array<ArrayBuffer>>;
  readonly targets: GrowingArray<Uint8Array<ArrayBuffer>>;
  readonly targetEnds: GrowingArray<Uint32Array<ArrayBuffer>>;

  constructor(limits: LayerLimits, nameBytes: number) {
    const maximum = limits["layer-entries"] + 2;
    this.attributes = new AttributeTable(limits);
    this.attribute = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.mtimeSeconds = new GrowingArray<Float64Array<ArrayBuffer>>(Float64Array, maximum);
    this.mtimeNanoseconds = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.linkCount = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.payload = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.firstChild = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
    this.targets = new GrowingArray<Uint8Array<ArrayBuffer>>(Uint8Array, nameBytes);
    this.targetEnds = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, maximum);
  }

  /** A new inode without links, mtime 0. */
  add(mode: number, uid: number, gid: number, xattrs: readonly Xattr[], payload: number): number {
    const attribute = this.attributes.intern(mode, uid, gid, xattrs);
    this.mtimeSeconds.push(0);
    this.mtimeNanoseconds.push(0);
    this.linkCount.push(0);
    this.payload.push(payload);
    this.firstChild.push(none);
    return this.attribute.push(attribute);
  }

  addTarget(target: Uint8Array): number {
    this.targets.append(target);
    return this.targetEnds.push(this.targets.length);
  }

  /** The target of a symbolic link. */
  target(inode: number): Uint8Array {
    const index = this.payload.items[inode] as number;
    const start = index === 0 ? 0 : (this.targetEnds.items[index - 1] as number);
    return this.targets.items.subarray(start, this.targetEnds.items[index]);
  }

  attributesOf(inode: number): InodeAttributes {
    return this.attributes.get(this.attribute.items[inode] as number);
  }

  type(inode: number): number {
    return this.attributesOf(inode).mode & fileType.mask;
  }

  isDirectory(inode: number): boolean {
    return this.type(inode) === fileType.directory;
  }

  isSymbolicLink(inode: number): boolean {
    return this.type(inode) === fileType.symbolicLink;
  }

  hasContent(inode: number): boolean {
    return this.type(inode) === fileType.regular && this.payload.items[inode] !== noContent;
  }

  setTime(inode: number, seconds: number, nanoseconds: number): void {
    this.mtimeSeconds.items[inode] = seconds;
    this.mtimeNanoseconds.items[inode] = nanoseconds;
  }
}
