import type { Xattr } from "../../../layers/layer-tree.ts";
import { blockBytes, xattr as format, xattrPrefixes } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";

export type XattrArea = {
  readonly filter: number;
  /** Bytes 5 to 11 of the header, which the format keeps at 0, are not. */
  readonly reservedIsZero: boolean;
  readonly sharedCount: number;
  /** In stored order: shared ones first. */
  readonly xattrs: readonly Xattr[];
  /** Padding between entries is zero. */
  readonly paddingIsZero: boolean;
};

type ViewShared = (position: number, length: number) => Promise<Buffer>;

const filterOffset = 0;
const sharedCountOffset = 4;
const prefixes = new Map(xattrPrefixes.map(({ index, prefix }) => [index as number, Buffer.from(prefix)]));

/**
 * Decodes the xattrs behind an inode (Linux `struct erofs_xattr_ibody_header` and `struct erofs_xattr_entry`).
 * Shared ones are read with `viewShared` from `xattrBlock`. Throws `ErofsError` `corrupt`.
 */
export async function parseXattrArea(
  area: Buffer,
  where: string,
  xattrBlock: number,
  viewShared: ViewShared,
): Promise<XattrArea> {
  const sharedCount = area[sharedCountOffset];
  let offset: number = format.headerBytes + sharedCount * 4;
  if (offset > area.length)
    throw new ErofsError("corrupt", `${where} has ${sharedCount} shared xattrs in too few bytes`);
  const xattrs: Xattr[] = [];
  for (let i = 0; i < sharedCount; i++) {
    const position = xattrBlock * blockBytes + area.readUInt32LE(format.headerBytes + i * 4) * 4;
    const header = await viewShared(position, format.entryBytes);
    const entry = await viewShared(position, entryLength(header, 0));
    xattrs.push(parseEntry(entry, 0, where));
  }
  let paddingIsZero = true;
  while (offset < area.length) {
    // Room that mkfs.erofs leaves behind the last entry.
    if (offset + format.entryBytes > area.length) break;
    const length = entryLength(area, offset);
    if (offset + length > area.length) throw new ErofsError("corrupt", `${where} has an xattr that does not fit`);
    xattrs.push(parseEntry(area, offset, where));
    const next = (offset + length + 3) & ~3;
    for (let i = offset + length; i < Math.min(next, area.length); i++) if (area[i] !== 0) paddingIsZero = false;
    offset = next;
  }
  return {
    filter: area.readUInt32LE(filterOffset),
    reservedIsZero: area.subarray(sharedCountOffset + 1, format.headerBytes).every((byte) => byte === 0),
    sharedCount,
    xattrs,
    paddingIsZero,
  };
}

function entryLength(bytes: Buffer, offset: number): number {
  return format.entryBytes + bytes[offset + format.nameLength] + bytes.readUInt16LE(offset + format.valueSize);
}

function parseEntry(bytes: Buffer, offset: number, where: string): Xattr {
  const nameLength = bytes[offset + format.nameLength];
  const index = bytes[offset + format.nameIndex];
  const prefix = prefixes.get(index);
  if (prefix === undefined) throw new ErofsError("corrupt", `${where} has an xattr of the unknown namespace ${index}`);
  const isWhole = prefix[prefix.length - 1] !== 0x2e;
  if (isWhole !== (nameLength === 0)) {
    throw new ErofsError("corrupt", `${where} has an xattr of namespace ${index} with ${nameLength} bytes of name`);
  }
  const nameStart = offset + format.entryBytes;
  const nameEnd = nameStart + nameLength;
  return {
    name: Buffer.concat([prefix, bytes.subarray(nameStart, nameEnd)]),
    value: bytes.subarray(nameEnd, nameEnd + bytes.readUInt16LE(offset + format.valueSize)),
  };
}
