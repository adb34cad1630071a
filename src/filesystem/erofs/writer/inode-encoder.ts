import { type dataLayout, inode as format } from "../constants.ts";
import { xattrCount } from "./xattr-area.ts";

export type InodeFields = {
  readonly layout: (typeof dataLayout)[keyof typeof dataLayout];
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  /** First block of flat data, `rdev` of a device, or the chunk format. */
  readonly union: number;
  readonly nid: number;
};

/** Writes an extended inode and its xattrs to `bytes`; returns the offset behind them. */
export function encodeInode(bytes: Uint8Array, fields: InodeFields, xattrs: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(format.format, 1 | (fields.layout << 1), true);
  view.setUint16(format.xattrCount, xattrCount(xattrs.length), true);
  view.setUint16(format.mode, fields.mode, true);
  view.setUint16(format.reserved, 0, true);
  view.setUint32(format.size, fields.sizeBytes >>> 0, true);
  view.setUint32(format.size + 4, Math.floor(fields.sizeBytes / 2 ** 32), true);
  view.setUint32(format.union, fields.union, true);
  view.setUint32(format.ino, fields.nid, true);
  view.setUint32(format.uid, fields.uid, true);
  view.setUint32(format.gid, fields.gid, true);
  view.setUint32(format.mtime, fields.mtimeSeconds >>> 0, true);
  view.setUint32(format.mtime + 4, Math.floor(fields.mtimeSeconds / 2 ** 32), true);
  view.setUint32(format.mtimeNanoseconds, fields.mtimeNanoseconds, true);
  view.setUint32(format.linkCount, fields.linkCount, true);
  bytes.fill(0, format.linkCount + 4, format.bytes);
  bytes.set(xattrs, format.bytes);
  return format.bytes + xattrs.length;
}
