import { fileType, type LayerTree, type Xattr } from "../layers/layer-tree.ts";

const overlayPrefix = new TextEncoder().encode("trusted.overlay.");
const opaqueName = new TextEncoder().encode("trusted.overlay.opaque");

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && prefix.every((byte, i) => bytes[i] === byte);
}

/** overlayfs keeps these for itself and does not show them (Linux `fs/overlayfs/xattrs.c`). */
export function isOverlayXattr(xattr: Xattr): boolean {
  return startsWith(xattr.name, overlayPrefix);
}

/** Whether a directory with these xattrs hides what lower layers have under its name. */
export function isOpaque(xattrs: readonly Xattr[]): boolean {
  return xattrs.some((xattr) => xattr.name.length === opaqueName.length && startsWith(xattr.name, opaqueName));
}

/** A character device 0:0 hides its name in lower layers (Linux `Documentation/filesystems/overlayfs.rst`, whiteouts). */
export function isWhiteout(tree: LayerTree, inode: number): boolean {
  const { mode } = tree.attributes[tree.attribute[inode]];
  return (mode & fileType.mask) === fileType.characterDevice && tree.payload[inode] === 0;
}
