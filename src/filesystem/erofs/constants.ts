/**
 * Numbers of the EROFS on-disk format (Linux `fs/erofs/erofs_fs.h`). The only file that writer and checker share.
 * Offsets are bytes from the start of their structure; integers are little-endian.
 */
export const blockBytes = 4096;
export const blockBits = 12;
/** Block numbers have 32 bits, and all ones stands for a hole. */
export const maximumBlocks = 0xffff_fffe;

export const superblock = {
  /** Byte offset of the superblock in the image. */
  position: 1024,
  bytes: 128,
  magicNumber: 0xe0f5e1e2,
  magic: 0,
  checksum: 4,
  featureCompat: 8,
  blockSizeBits: 12,
  extensionSlots: 13,
  rootNid: 14,
  inodeCount: 16,
  buildTime: 24,
  buildTimeNanoseconds: 32,
  blockCount: 36,
  metadataBlock: 40,
  xattrBlock: 44,
  uuid: 48,
  volumeName: 64,
  featureIncompat: 80,
  /** Start of the fields that a plain image leaves at 0. */
  rest: 84,
} as const;

export const featureCompat = { checksum: 0x1 } as const;
export const featureIncompat = { chunkedFile: 0x4 } as const;

/** Inodes are addressed in slots of 32 bytes from the start of the metadata area: nid × 32. */
export const slotBytes = 32;

/** `struct erofs_inode_extended`. */
export const inode = {
  bytes: 64,
  /** u16: bit 0 is 1 for the extended form, bits 1 to 3 the data layout. */
  format: 0,
  /** u16: 0 without xattrs, else 1 + (bytes of the xattr area - 12) / 4. */
  xattrCount: 2,
  mode: 4,
  reserved: 6,
  size: 8,
  /** u32: first block of flat data, or `rdev`, or chunk format. */
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  mtimeNanoseconds: 40,
  linkCount: 44,
} as const;

export const dataLayout = { flatPlain: 0, flatInline: 2, chunkBased: 4 } as const;

/** Low five bits of the chunk format: log2 of blocks per chunk; bit 5 would mean 8-byte indexes. */
export const chunkFormat = { bitsMask: 0x1f, indexes: 0x20, hole: 0xffff_ffff } as const;

/** `struct erofs_dirent`. */
export const dirent = { bytes: 12, nid: 0, nameOffset: 8, fileType: 10 } as const;

export const direntType = {
  regular: 1,
  directory: 2,
  characterDevice: 3,
  blockDevice: 4,
  fifo: 5,
  socket: 6,
  symbolicLink: 7,
} as const;

/** `struct erofs_xattr_ibody_header`, then entries of `struct erofs_xattr_entry`, each padded to 4 bytes. */
export const xattr = { headerBytes: 12, entryBytes: 4, nameLength: 0, nameIndex: 1, valueSize: 2 } as const;

/** `EROFS_XATTR_INDEX_*`: the namespace that a name's index stands for. */
export const xattrPrefixes = [
  { index: 1, prefix: "user." },
  { index: 2, prefix: "system.posix_acl_access" },
  { index: 3, prefix: "system.posix_acl_default" },
  { index: 4, prefix: "trusted." },
  { index: 6, prefix: "security." },
] as const;
