import { blockBits, blockBytes, featureCompat, featureIncompat, superblock } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";
import { crc32c } from "./crc32c.ts";

export type Superblock = {
  /** The image ends at `blockCount` blocks. */
  readonly blockCount: number;
  readonly rootNid: number;
  readonly inodeCount: number;
  /** Seconds since 1970; the mtime of compact inodes. */
  readonly buildTime: number;
  readonly buildTimeNanoseconds: number;
  readonly metadataBlock: number;
  readonly xattrBlock: number;
  readonly uuid: Uint8Array;
  readonly volumeName: string;
  readonly featureCompat: number;
  readonly featureIncompat: number;
};

/**
 * Reads the superblock from the first block of an image (Linux `struct erofs_super_block`).
 * Throws `ErofsError`: `not-erofs` for a wrong magic, `corrupt` for a wrong checksum, `unsupported` for another block size
 * or an incompatible feature other than chunked files, `truncated` when `sizeBytes` is less than the image needs.
 */
export function parseSuperblock(block: Buffer, sizeBytes: number, name: string): Superblock {
  const sb = block.subarray(superblock.position, superblock.position + superblock.bytes);
  if (sb.readUInt32LE(superblock.magic) !== superblock.magicNumber) {
    throw new ErofsError("not-erofs", `${name} is not an EROFS image: no EROFS superblock at byte 1024`);
  }
  const bits = sb[superblock.blockSizeBits];
  if (bits !== blockBits) {
    throw new ErofsError("unsupported", `${name} has blocks of 2^${bits} bytes; only ${blockBytes} is supported`);
  }
  const incompatible = sb.readUInt32LE(superblock.featureIncompat);
  if ((incompatible & ~featureIncompat.chunkedFile) !== 0) {
    throw new ErofsError(
      "unsupported",
      `${name} uses EROFS features that are not supported: 0x${(incompatible & ~featureIncompat.chunkedFile).toString(16)}`,
    );
  }
  const compatible = sb.readUInt32LE(superblock.featureCompat);
  if ((compatible & featureCompat.checksum) !== 0) checkChecksum(block, name);
  const blockCount = sb.readUInt32LE(superblock.blockCount);
  if (blockCount * blockBytes > sizeBytes) {
    throw new ErofsError(
      "truncated",
      `${name} is cut off: it should have ${blockCount * blockBytes} bytes, but has ${sizeBytes}`,
    );
  }
  return {
    blockCount,
    rootNid: sb.readUInt16LE(superblock.rootNid),
    inodeCount: safeUint64(sb, superblock.inodeCount, `${name}: inode count`),
    buildTime: safeUint64(sb, superblock.buildTime, `${name}: build time`),
    buildTimeNanoseconds: sb.readUInt32LE(superblock.buildTimeNanoseconds),
    metadataBlock: sb.readUInt32LE(superblock.metadataBlock),
    xattrBlock: sb.readUInt32LE(superblock.xattrBlock),
    uuid: Uint8Array.from(sb.subarray(superblock.uuid, superblock.uuid + 16)),
    volumeName: sb.toString("latin1", superblock.volumeName, superblock.volumeName + 16).replace(/\0[\s\S]*$/, ""),
    featureCompat: compatible,
    featureIncompat: incompatible,
  };
}

function checkChecksum(block: Buffer, name: string): void {
  const copy = Buffer.from(block.subarray(superblock.position, blockBytes));
  const stored = copy.readUInt32LE(superblock.checksum);
  copy.writeUInt32LE(0, superblock.checksum);
  const computed = crc32c(0xffff_ffff, copy);
  if (stored !== computed) {
    const hex = (value: number) => `0x${value.toString(16).padStart(8, "0")}`;
    throw new ErofsError(
      "corrupt",
      `${name} has a damaged superblock: its checksum is ${hex(stored)}, the bytes give ${hex(computed)}`,
    );
  }
}

/** A little-endian u64 that fits a JavaScript number. Throws `ErofsError` `corrupt` when it does not. */
export function safeUint64(bytes: Buffer, offset: number, what: string): number {
  const high = bytes.readUInt32LE(offset + 4);
  if (high >= 1 << 21) throw new ErofsError("corrupt", `${what} is beyond 2^53`);
  return high * 2 ** 32 + bytes.readUInt32LE(offset);
}
