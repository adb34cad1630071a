import type { SpaceGauge, SpaceUse } from "./space-gauge.ts";

/** File systems that are only written down, for tests: all folders are as full as told. */
export class MemorySpaceGauge implements SpaceGauge {
  /** Percent of bytes and of inodes in use. */
  percent = 10;
  inodePercent = 10;
  totalBytes = 100e9;
  totalInodes = 6.4e6;
  /** Whether all folders are on one file system. */
  isOne = true;

  async measure(folders: readonly string[]): Promise<readonly SpaceUse[]> {
    const { totalBytes, totalInodes, percent, inodePercent, isOne } = this;
    return folders.map((folder, i) => ({
      folder,
      device: isOne ? 0 : i,
      // No two of them have the same size.
      totalBytes: isOne ? totalBytes : totalBytes + i,
      freeBytes: totalBytes * (1 - percent / 100),
      totalInodes,
      freeInodes: totalInodes * (1 - inodePercent / 100),
    }));
  }
}
