import { fileType } from "../../../layers/layer-tree.ts";
import { dataLayout, direntType, inode as field, xattr } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";
import { safeUint64 } from "./superblock-parser.ts";

/** Bytes of `struct erofs_inode_compact`; Nodewarm reads but does not write this form. */
export const compactInodeBytes = 32;

/** One inode as stored. */
export type Inode = {
  readonly nid: number;
  /** Of the inode in the image, in bytes. */
  readonly position: number;
  /** 32 (compact) or 64 (extended). */
  readonly headerBytes: number;
  /** Bytes of inline xattrs behind the header. */
  readonly xattrBytes: number;
  /** A value of `dataLayout`. */
  readonly layout: number;
  readonly mode: number;
  readonly sizeBytes: number;
  /** First block, `rdev` or chunk format. */
  readonly union: number;
  readonly ino: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly linkCount: number;
  /** What the format keeps at 0. */
  readonly reserved: number;
};

/** Whether the format field says that the inode is of the extended form. */
export function isExtended(format: number): boolean {
  return (format & 1) === 1;
}

/**
 * Decodes an inode from its bytes (64, or at least 32 for the compact form). `buildTime` is the mtime of compact inodes.
 * Throws `ErofsError`: `unsupported` for compressed layouts, `corrupt` for numbers that cannot be.
 */
export function parseInode(bytes: Buffer, nid: number, position: number, buildTime: number): Inode {
  const format = bytes.readUInt16LE(field.format);
  const layout = (format >>> 1) & 7;
  if (layout !== dataLayout.flatPlain && layout !== dataLayout.flatInline && layout !== dataLayout.chunkBased) {
    throw new ErofsError("unsupported", `inode ${nid} has data layout ${layout}, which is not supported`);
  }
  if (format >>> 4 !== 0)
    throw new ErofsError("corrupt", `inode ${nid} has unknown format bits 0x${format.toString(16)}`);
  const xattrCount = bytes.readUInt16LE(field.xattrCount);
  const common = {
    nid,
    position,
    layout,
    xattrBytes: xattrCount === 0 ? 0 : xattr.headerBytes + (xattrCount - 1) * 4,
    mode: bytes.readUInt16LE(field.mode),
    union: bytes.readUInt32LE(field.union),
    ino: bytes.readUInt32LE(field.ino),
  };
  if (!isExtended(format)) {
    return {
      ...common,
      headerBytes: compactInodeBytes,
      sizeBytes: bytes.readUInt32LE(field.size),
      uid: bytes.readUInt16LE(24),
      gid: bytes.readUInt16LE(26),
      mtimeSeconds: buildTime,
      mtimeNanoseconds: 0,
      linkCount: bytes.readUInt16LE(6),
      reserved: 0,
    };
  }
  const mtimeNanoseconds = bytes.readUInt32LE(field.mtimeNanoseconds);
  if (mtimeNanoseconds >= 1e9) throw new ErofsError("corrupt", `inode ${nid} has ${mtimeNanoseconds} nanoseconds`);
  return {
    ...common,
    headerBytes: field.bytes,
    sizeBytes: safeUint64(bytes, field.size, `the size of inode ${nid}`),
    uid: bytes.readUInt32LE(field.uid),
    gid: bytes.readUInt32LE(field.gid),
    mtimeSeconds: safeUint64(bytes, field.mtime, `the mtime of inode ${nid}`),
    mtimeNanoseconds,
    linkCount: bytes.readUInt32LE(field.linkCount),
    reserved: restIsZero(bytes) ? bytes.readUInt16LE(field.reserved) : 0xffff,
  };
}

function restIsZero(bytes: Buffer): boolean {
  for (let i = field.linkCount + 4; i < field.bytes; i++) if (bytes[i] !== 0) return false;
  return true;
}

export function isDirectory(inode: Inode): boolean {
  return (inode.mode & fileType.mask) === fileType.directory;
}

export function isRegular(inode: Inode): boolean {
  return (inode.mode & fileType.mask) === fileType.regular;
}

export function isSymbolicLink(inode: Inode): boolean {
  return (inode.mode & fileType.mask) === fileType.symbolicLink;
}

/** A character device 0:0, which overlayfs takes as a deleted name. */
export function isWhiteoutInode(inode: Inode): boolean {
  return (inode.mode & fileType.mask) === fileType.characterDevice && inode.union === 0;
}

/** The type that directory entries of an inode with this mode carry; 0 when the mode has no known type. */
export function direntTypeOfMode(mode: number): number {
  switch (mode & fileType.mask) {
    case fileType.regular:
      return direntType.regular;
    case fileType.directory:
      return direntType.directory;
    case fileType.characterDevice:
      return direntType.characterDevice;
    case fileType.blockDevice:
      return direntType.blockDevice;
    case fileType.fifo:
      return direntType.fifo;
    case fileType.symbolicLink:
      return direntType.symbolicLink;
    case 0o140000:
      return direntType.socket;
    default:
      return 0;
  }
}
