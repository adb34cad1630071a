import type { Xattr } from "../../../layers/layer-tree.ts";
import { xattr as format, xattrPrefixes } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";

const none = new Uint8Array(0);
const encoded = new WeakMap<readonly Xattr[], Uint8Array>();
const prefixes = xattrPrefixes.map(({ index, prefix }) => ({ index, prefix: new TextEncoder().encode(prefix) }));

/** The inline xattr area behind an inode (Linux `fs/erofs/xattr.c`); empty without xattrs. Kept for each list of xattrs. */
export function xattrArea(xattrs: readonly Xattr[]): Uint8Array {
  if (xattrs.length === 0) return none;
  let area = encoded.get(xattrs);
  if (area === undefined) {
    area = encode(xattrs);
    encoded.set(xattrs, area);
  }
  return area;
}

/** `i_xattr_icount` for an area of that many bytes. */
export function xattrCount(areaBytes: number): number {
  return areaBytes === 0 ? 0 : 1 + (areaBytes - format.headerBytes) / format.entryBytes;
}

function encode(xattrs: readonly Xattr[]): Uint8Array {
  const entries = xattrs.map((xattr) => ({ ...splitName(xattr.name), value: xattr.value }));
  const sizes = entries.map(({ suffix, value }) => (format.entryBytes + suffix.length + value.length + 3) & ~3);
  const area = new Uint8Array(sizes.reduce((sum, size) => sum + size, format.headerBytes));
  const view = new DataView(area.buffer);
  let position: number = format.headerBytes;
  entries.forEach(({ index, suffix, value }, i) => {
    area[position + format.nameLength] = suffix.length;
    area[position + format.nameIndex] = index;
    view.setUint16(position + format.valueSize, value.length, true);
    area.set(suffix, position + format.entryBytes);
    area.set(value, position + format.entryBytes + suffix.length);
    position += sizes[i];
  });
  return area;
}

function splitName(name: Uint8Array): { readonly index: number; readonly suffix: Uint8Array } {
  for (const { index, prefix } of prefixes)
    if (name.length >= prefix.length && prefix.every((byte, i) => name[i] === byte))
      return { index, suffix: name.subarray(prefix.length) };
  throw new ErofsError("unsupported", `xattr "${new TextDecoder().decode(name)}" has no EROFS namespace`);
}
