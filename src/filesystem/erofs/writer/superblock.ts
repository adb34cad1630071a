import { blockBits, blockBytes, featureCompat, superblock as format } from "../constants.ts";

export type SuperblockFields = {
  readonly rootNid: number;
  readonly inodeCount: number;
  /** Seconds since 1970. */
  readonly buildTime: number;
  readonly blockCount: number;
  readonly metadataBlock: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly volumeName: string;
  readonly featureIncompat: number;
};

/** Block 0 of an image, with its checksum. */
export function encodeSuperblock(fields: SuperblockFields): Uint8Array {
  const block = new Uint8Array(blockBytes);
  const view = new DataView(block.buffer, format.position);
  view.setUint32(format.magic, format.magicNumber, true);
  view.setUint32(format.featureCompat, featureCompat.checksum, true);
  view.setUint8(format.blockSizeBits, blockBits);
  view.setUint16(format.rootNid, fields.rootNid, true);
  view.setBigUint64(format.inodeCount, BigInt(fields.inodeCount), true);
  view.setBigUint64(format.buildTime, BigInt(fields.buildTime), true);
  view.setUint32(format.blockCount, fields.blockCount, true);
  view.setUint32(format.metadataBlock, fields.metadataBlock, true);
  block.set(fields.uuid, format.position + format.uuid);
  new TextEncoder().encodeInto(fields.volumeName, block.subarray(format.position + format.volumeName).subarray(0, 16));
  view.setUint32(format.featureIncompat, fields.featureIncompat, true);
  view.setUint32(format.checksum, crc32c(block.subarray(format.position)), true);
  return block;
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** CRC-32C without the final inversion, as the kernel checks superblocks (Linux `fs/erofs/super.c`, `crc32c(~0, …)`). */
function crc32c(bytes: Uint8Array): number {
  let c = 0xffff_ffff;
  for (const byte of bytes) c = (c >>> 8) ^ table[(c ^ byte) & 0xff];
  return c >>> 0;
}
