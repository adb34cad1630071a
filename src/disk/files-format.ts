/** Numbers of `/nodewarm.files` (`docs/disk-format.md`, section 5); sizes in bytes. Shared by writer and reader. */
export const filesFormat = {
  magic: "NWFILES1",
  headerBytes: 32,
  smallBytes: 40,
  largeBytes: 24,
  digestBytes: 32,
  areaBytes: 16,
} as const;

/** Kinds of areas. */
export const areaKind = { superblock: 0, blobs: 1, layerMetadata: 2, metadata: 3, index: 4 } as const;
