import type { Stats } from "node:fs";
import { type FileHandle, stat } from "node:fs/promises";
import { DiskReader } from "../../disk/reader/disk-reader.ts";
import { handleSource } from "../../filesystem/byte-source.ts";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { type DeviceNumber, decodeDeviceNumber } from "./device-number.ts";

/** Where the bytes of a disk lie, and which disk they are. */
export type DiskSource = {
  readonly path: string;
  readonly kind: "file" | "block-device";
  /** Of the block device; undefined for a file. */
  readonly device: DeviceNumber | undefined;
  /** Of the image, which may be shorter than its file or device: a multiple of 4096. */
  readonly sizeBytes: number;
  /** 64 hex digits. */
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
};

/** A block at a time: what is done with disks on a node reads little of their metadata, and nothing of their layers. */
const readerOptions = { segmentBytes: blockBytes };

/**
 * Opens the disk in a file or block device without mounting it; the caller closes `disk`. Superblock, index and the id over
 * `/nodewarm.files` are checked. Throws `DiskError`, `ErofsError`, or what `open(2)` gives.
 */
export async function openDiskSource(path: string): Promise<{ disk: DiskReader; source: DiskSource }> {
  const disk = await DiskReader.openPath(path, readerOptions);
  try {
    return { disk, source: describeSource(path, disk, await stat(path)) };
  } catch (error) {
    await disk.close();
    throw error;
  }
}

/** As `openDiskSource`, for a file or device that is open: closing `disk` closes it. When this throws it stays the caller's. */
export async function diskSourceOf(
  path: string,
  handle: FileHandle,
): Promise<{ disk: DiskReader; source: DiskSource }> {
  const disk = await DiskReader.open(await handleSource(path, handle), readerOptions);
  return { disk, source: describeSource(path, disk, await handle.stat()) };
}

function describeSource(path: string, disk: DiskReader, stats: Stats): DiskSource {
  const isDevice = stats.isBlockDevice();
  const { id, line, sequence } = disk.index;
  const sizeBytes = disk.image.superblock.blockCount * blockBytes;
  const device = isDevice ? decodeDeviceNumber(stats.rdev) : undefined;
  return { path, kind: isDevice ? "block-device" : "file", device, sizeBytes, id, line, sequence };
}

/** As `openDiskSource`, for whoever wants to know only which disk it is. */
export async function readDiskSource(path: string): Promise<DiskSource> {
  const { disk, source } = await openDiskSource(path);
  await disk.close();
  return source;
}
