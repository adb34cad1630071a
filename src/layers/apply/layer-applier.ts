import { LayerError, limitError, printableName } from "../layer-error.ts";
import { fileType, type InodeAttributes, noContent, type Xattr } from "../layer-tree.ts";
import type { LayerLimits } from "../limits.ts";
import { typeFlag } from "../tar/header.ts";
import type { TarEntry } from "../tar/tar-entry.ts";
import { DirectoryTimes } from "./directory-times.ts";
import type { DropCounter } from "./drop-counter.ts";
import { EntryTable } from "./entry-table.ts";
import { InodeTable, none } from "./inode-table.ts";
import { LinkResolver } from "./link-resolver.ts";
import { OriginRecorder } from "./origins.ts";
import { cleanName, climbs, depthOf } from "./path.ts";
import { type FoundParent, PathFinder } from "./path-finder.ts";
import {
  aclName,
  inheritedXattrs,
  isNamed,
  mergedXattrs,
  xattrFate,
  xattrsAfterChmod,
  xattrsAfterChown,
} from "./xattr-policy.ts";

const whiteoutPrefix = Buffer.from(".wh.");
const opaqueName = Buffer.from(".wh..wh..opq");
const opaqueXattr: Xattr = { name: Buffer.from("trusted.overlay.opaque"), value: Buffer.from("y") };
const maximumNameBytes = 255;
/** Linux: PATH_MAX counts the final NUL. */
const maximumTargetBytes = 4095;
const noXattrs: readonly Xattr[] = [];
/** containerd gives up on times past 2^63 - 1 ns. */
const maximumSeconds = 9_223_372_036;
const maximumNanoseconds = 854_775_807;

export type LayerApplierOptions = {
  readonly limits: LayerLimits;
  readonly dropped: DropCounter;
  /** The layer is the lowest of its image: see `LayerApplier`. */
  readonly isBase: boolean;
};

/**
 * Applies tar entries to a tree in memory, as containerd (`archive.Apply` with overlayfs whiteouts, 1.6 to 2.4) applies them to a
 * directory on Linux as root, in the order of the tar:
 *
 * - entries that resolve to the root are ignored, so the root is 0755 0:0 with mtime 0;
 * - parents are found through the links that the layer has so far, and made 0755 0:0 where they are missing (with the group and the
 *   default ACL that Linux makes them inherit);
 * - an entry replaces what is there, except that directories merge;
 * - owner, then xattrs, then mode, then times: of hard links too, which so change the inode they share;
 * - whiteouts become devices 0:0 with mode 0 and their own owner; their mtime, which is the time of unpacking in containerd, is 0;
 * - unlike containerd, names that climb above the root are refused.
 *
 * In a layer without layers below (`isBase`) containerd does not make whiteouts: they delete what this layer has so far.
 *
 * Throws `LayerError` ("refused-entry", "limit") that names the entry.
 */
export class LayerApplier {
  readonly inodes: InodeTable;
  readonly entries: EntryTable;
  readonly #limits: LayerLimits;
  readonly #dropped: DropCounter;
  readonly #isBase: boolean;
  #hasWhiteouts = false;
  readonly #links: LinkResolver;
  readonly #finder: PathFinder;
  readonly #times: DirectoryTimes;
  /** Of what the layers below may give to entries. */
  readonly origins: OriginRecorder;
  readonly #opaque = new Set<number>();

  constructor(options: LayerApplierOptions) {
    this.#limits = options.limits;
    this.#dropped = options.dropped;
    this.#isBase = options.isBase;
    const nameBytes = options.limits["layer-name-bytes"];
    this.inodes = new InodeTable(options.limits, nameBytes);
    this.inodes.add(fileType.directory | 0o755, 0, 0, noXattrs, 0);
    this.entries = new EntryTable(this.inodes, options.limits["layer-entries"], nameBytes);
    this.origins = new OriginRecorder(this.entries, this.inodes, options.limits["layer-entries"]);
    this.#links = new LinkResolver(this.entries, this.inodes);
    this.#finder = new PathFinder(this.entries, this.inodes, this.#links, (directory, path, start, end) =>
      this.#addImplied(directory, path, start, end),
    );
    this.#times = new DirectoryTimes(this.entries, this.inodes, this.#links, options.limits["layer-entries"]);
  }

  /** Applies an entry. Returns its inode if it is a new regular file, whose content the caller then sets. */
  apply(entry: TarEntry): number | undefined {
    try {
      return this.#apply(entry);
    } catch (error) {
      if (!(error instanceof LayerError)) throw error;
      throw new LayerError(error.code, `tar entry ${printableName(entry.name)}: ${error.message}`);
    }
  }

  setContent(inode: number, content: number): void {
    this.inodes.payload.items[inode] = content;
  }

  /** All entries were applied: gives directories their times, which containerd sets last. */
  finish(): void {
    this.#times.apply();
  }

  /** See `LayerTree.whiteouts`. */
  get whiteouts(): "kept" | "applied" | undefined {
    if (!this.#hasWhiteouts) return undefined;
    return this.#isBase ? "applied" : "kept";
  }

  #apply(entry: TarEntry): number | undefined {
    const path = this.#checkedName(entry.name);
    if (path.length === 0) return undefined;
    const parent = this.#finder.parentOf(path);
    const start = path.lastIndexOf(0x2f) + 1;
    if (startsWith(path, start, whiteoutPrefix)) {
      this.#whiteout(entry, parent.entry, path, start);
      return undefined;
    }
    if (path.length - start > maximumNameBytes) throw nameTooLong();
    const existing = this.entries.find(parent.entry, path, start, path.length);
    const isDirectory = entry.type === typeFlag.directory;
    if (existing !== none) {
      if (isDirectory && this.inodes.isDirectory(this.entries.inode(existing))) {
        this.#setDirectory(entry, existing, parent, path);
        return undefined;
      }
      this.#remove(existing);
    }
    if (entry.type === typeFlag.paxGlobal) return undefined;
    const parentInode = this.entries.inode(parent.entry);
    const inode = this.#create(entry, this.inodes.attributesOf(parentInode));
    if (entry.type === typeFlag.hardLink) this.origins.linked(inode, parentInode);
    else this.origins.made(inode, parentInode);
    this.#reserve(path.length - start);
    const created = this.entries.link(parent.entry, path, start, path.length, inode);
    if (isDirectory) this.#setDirectory(entry, created, parent, path);
    else this.#setAttributes(entry, inode);
    return entry.type === typeFlag.hardLink || !this.#isRegular(inode) ? undefined : inode;
  }

  #checkedName(name: Uint8Array): Uint8Array {
    if (name.length > this.#limits["path-bytes"])
      throw limitError("path-bytes", this.#limits["path-bytes"], "the length of its path");
    const path = cleanName(name);
    if (path === climbs) throw new LayerError("refused-entry", "its path leads out of the root");
    if (depthOf(path) >= this.#limits["path-depth"])
      throw limitError("path-depth", this.#limits["path-depth"], "the depth of its path");
    return path;
  }

  #whiteout(entry: TarEntry, directory: number, path: Uint8Array, start: number): void {
    this.#hasWhiteouts = true;
    const parentInode = this.entries.inode(directory);
    if (path.length - start === opaqueName.length && startsWith(path, start, opaqueName)) {
      if (this.#isBase) {
        // As containerd 2.4: the first mark of a directory counts.
        if (!this.#opaque.has(directory)) this.#removeImplied(directory);
        this.#opaque.add(directory);
      } else this.#setXattrs(parentInode, [opaqueXattr]);
      return;
    }
    const from = start + whiteoutPrefix.length;
    const length = path.length - from;
    if (length === 0 || (length <= 2 && path.subarray(from).every((byte) => byte === 0x2e)))
      throw new LayerError("refused-entry", "it is a whiteout of no name");
    const existing = length > maximumNameBytes ? none : this.entries.find(directory, path, from, path.length);
    if (this.#isBase) {
      if (existing !== none) this.#remove(existing);
      return;
    }
    if (length > maximumNameBytes) throw nameTooLong();
    if (existing !== none)
      throw new LayerError("refused-entry", "it is a whiteout of an entry that the layer has itself");
    const parent = this.inodes.attributesOf(parentInode);
    const xattrs = inheritedXattrs(parent.xattrs, 0, false);
    const uid = ownerID(entry.uid, 0);
    const gid = ownerID(entry.gid, inheritedGroup(parent));
    const inode = this.inodes.add(fileType.characterDevice, uid, gid, xattrs, 0);
    this.origins.made(inode, parentInode);
    this.#reserve(length);
    this.entries.link(directory, path, from, path.length, inode);
  }

  /** What an opaque mark does without layers below: entries go that no tar entry made. */
  #removeImplied(directory: number): void {
    const gone: number[] = [];
    this.entries.forEachChild(directory, (child) => {
      const inode = this.entries.inode(child);
      if (!this.inodes.isDirectory(inode)) return;
      if (this.inodes.payload.items[inode] === 1) gone.push(child);
      else this.#removeImplied(child);
    });
    for (const child of gone) this.#remove(child);
  }

  #remove(entry: number): void {
    this.#finder.forget();
    if (this.entries.remove(entry)) this.#times.directoryGone();
  }

  /** The inode for an entry that is not there yet, or the one that a hard link names. */
  #create(entry: TarEntry, parent: InodeAttributes): number {
    const mode = entry.mode & 0o7777;
    const uid = ownerID(entry.uid, 0);
    const gid = ownerID(entry.gid, inheritedGroup(parent));
    const xattrs = inheritedXattrs(parent.xattrs, mode, entry.type === typeFlag.directory);
    switch (entry.type) {
      case typeFlag.regular:
      case typeFlag.contiguous:
      case typeFlag.gnuSparse:
        return this.inodes.add(fileType.regular | mode, uid, gid, xattrs, noContent);
      case typeFlag.directory:
        return this.inodes.add(fileType.directory | mode, uid, gid, xattrs, 0);
      case typeFlag.characterDevice:
        return this.inodes.add(fileType.characterDevice | mode, uid, gid, xattrs, deviceNumber(entry));
      case typeFlag.blockDevice:
        return this.inodes.add(fileType.blockDevice | mode, uid, gid, xattrs, deviceNumber(entry));
      case typeFlag.fifo:
        deviceNumber(entry);
        return this.inodes.add(fileType.fifo | mode, uid, gid, xattrs, 0);
      case typeFlag.symbolicLink:
        return this.#createSymbolicLink(entry.linkName);
      case typeFlag.hardLink: {
        const target = this.#finder.hardLinkTarget(entry.linkName);
        const inode = target === none ? none : this.entries.inode(target);
        if (inode === none)
          throw new LayerError(
            "refused-entry",
            `it is a hard link to ${printableName(entry.linkName)}, which is not in the same layer`,
          );
        if (this.inodes.isDirectory(inode))
          throw new LayerError("refused-entry", `it is a hard link to the directory ${printableName(entry.linkName)}`);
        return inode;
      }
      default:
        throw new LayerError("refused-entry", `it is of a type that is not known: ${shownType(entry.type)}`);
    }
  }

  #createSymbolicLink(target: Uint8Array): number {
    if (target.length === 0) throw new LayerError("refused-entry", "it is a symbolic link without a target");
    if (target.length > maximumTargetBytes)
      throw new LayerError("refused-entry", `its link target exceeds ${maximumTargetBytes} bytes`);
    this.#reserve(target.length);
    this.#finder.forget();
    return this.inodes.add(fileType.symbolicLink | 0o777, 0, 0, noXattrs, this.inodes.addTarget(target));
  }

  #addImplied(directory: number, path: Uint8Array, start: number, end: number): number {
    const parentInode = this.entries.inode(directory);
    const parent = this.inodes.attributesOf(parentInode);
    const xattrs = inheritedXattrs(parent.xattrs, 0o755, true);
    const inode = this.inodes.add(fileType.directory | 0o755, 0, inheritedGroup(parent), xattrs, 1);
    this.#reserve(end - start);
    const entry = this.entries.link(directory, path, start, end, inode);
    this.origins.implied(inode, entry, parentInode);
    return entry;
  }

  #setDirectory(entry: TarEntry, at: number, parent: FoundParent, path: Uint8Array): void {
    const inode = this.entries.inode(at);
    const before = this.inodes.attributesOf(inode);
    if (this.inodes.payload.items[inode] === 1) this.origins.entered(inode);
    this.inodes.payload.items[inode] = 0;
    this.#setAttributes(entry, inode);
    this.origins.changed(inode, before);
    this.#times.record(at, parent.throughLinks ? path : undefined);
  }

  #setAttributes(entry: TarEntry, inode: number): void {
    const current = this.inodes.attributesOf(inode);
    const type = current.mode & fileType.mask;
    const mode = type === fileType.symbolicLink ? current.mode : type | (entry.mode & 0o7777);
    let xattrs = current.xattrs;
    if (xattrs.length > 0 && type !== fileType.directory) xattrs = xattrsAfterChown(xattrs);
    if (entry.xattrs.length > 0) xattrs = this.#withXattrs(inode, xattrs, entry.xattrs, mode);
    if (xattrs.length > 0) xattrs = xattrsAfterChmod(xattrs, mode);
    this.#checkXattrs(xattrs);
    const uid = ownerID(entry.uid, current.uid);
    const gid = ownerID(entry.gid, current.gid);
    this.inodes.attribute.items[inode] = this.inodes.attributes.intern(mode, uid, gid, xattrs);
    const { mtimeSeconds: seconds, mtimeNanoseconds: nanoseconds } = entry;
    const late = seconds > maximumSeconds || (seconds === maximumSeconds && nanoseconds > maximumNanoseconds);
    if (seconds < 0 || late) this.inodes.setTime(inode, 0, 0);
    else this.inodes.setTime(inode, seconds, nanoseconds);
    for (const key of entry.ignoredRecords)
      this.#dropped.add(`${key.split(".").slice(0, 2).join(".")}.* records`, "containerd does not read them");
  }

  /** `current` and those of the entry that a node would have set on an inode of this mode. */
  #withXattrs(inode: number, current: readonly Xattr[], added: readonly Xattr[], mode: number): readonly Xattr[] {
    let remaining = current;
    const kept = added.filter((xattr) => {
      const fate = xattrFate(xattr, mode);
      const acl = aclName(xattr);
      if (acl !== undefined && (fate === "keep" || fate.replaces))
        this.origins.ownAcl(inode, acl === "default", fate !== "keep", current);
      if (fate === "keep") return true;
      this.#dropped.add(fate.what, fate.why);
      if (fate.replaces) {
        const name = Buffer.from(xattr.name).toString("latin1");
        remaining = remaining.filter((other) => !isNamed(other, name));
      }
      return false;
    });
    return mergedXattrs(remaining, kept);
  }

  #setXattrs(inode: number, added: readonly Xattr[]): void {
    const { mode, uid, gid, xattrs } = this.inodes.attributesOf(inode);
    const merged = mergedXattrs(xattrs, added);
    this.#checkXattrs(merged);
    this.inodes.attribute.items[inode] = this.inodes.attributes.intern(mode, uid, gid, merged);
  }

  #checkXattrs(xattrs: readonly Xattr[]): void {
    if (xattrs.length === 0) return;
    if (xattrs.length > this.#limits["xattr-count"])
      throw limitError("xattr-count", this.#limits["xattr-count"], "the number of its xattrs");
    let bytes = 0;
    for (const { name, value } of xattrs) bytes += name.length + value.length;
    if (bytes > this.#limits["xattr-bytes"])
      throw limitError("xattr-bytes", this.#limits["xattr-bytes"], "the size of its xattrs");
  }

  /** Makes sure that a name or link target of this length and one more entry fit. */
  #reserve(nameBytes: number): void {
    const maximum = this.#limits["layer-entries"];
    if (this.inodes.attribute.length > maximum + 1 || this.entries.length > maximum)
      throw limitError("layer-entries", maximum, "the number of the layer's entries");
    if (this.entries.nameBytes + this.inodes.targets.length + nameBytes > this.#limits["layer-name-bytes"])
      throw limitError("layer-name-bytes", this.#limits["layer-name-bytes"], "the length of the layer's names");
  }

  #isRegular(inode: number): boolean {
    return this.inodes.type(inode) === fileType.regular;
  }
}

function startsWith(path: Uint8Array, start: number, prefix: Uint8Array): boolean {
  if (path.length - start < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (path[start + i] !== prefix[i]) return false;
  return true;
}

function nameTooLong(): LayerError {
  return new LayerError("refused-entry", `its name exceeds ${maximumNameBytes} bytes`);
}

function shownType(type: number): string {
  return type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : String(type);
}

/** A directory with the setgid bit gives its group to what is made in it. */
function inheritedGroup(parent: InodeAttributes): number {
  return (parent.mode & 0o2000) === 0 ? 0 : parent.gid;
}

/** The low 32 bits, as the kernel takes them; -1 leaves the owner as it is. Throws where the number is not exact. */
function ownerID(id: number, current: number): number {
  if (!Number.isSafeInteger(id)) throw new LayerError("refused-entry", "its owner is out of range");
  const low = ((id % 2 ** 32) + 2 ** 32) % 2 ** 32;
  return low === 2 ** 32 - 1 ? current : low;
}

/**
 * `rdev` as the low 32 bits of glibc's `makedev`, which are the kernel's `new_encode_dev`: 12 bits of major, 20 of minor.
 * Throws for numbers outside 32 bits, as containerd 2 does.
 */
function deviceNumber({ major, minor }: TarEntry): number {
  if (major < 0 || minor < 0 || major > 0xffff_ffff || minor > 0xffff_ffff)
    throw new LayerError("refused-entry", `its device number ${major}:${minor} is out of range`);
  const high = Math.floor((minor % 2 ** 20) / 256);
  return (minor % 256) + (major % 2 ** 12) * 256 + high * 2 ** 20;
}
