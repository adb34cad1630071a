import type { SpaceGauge, SpaceUse } from "./space-gauge.ts";

/** File systems that are only written down, for tests: all folders are as full as told. */
export class MemorySpaceGauge implements SpaceGauge {
  /** Percent of bytes and of inodes in use. */
  percent = 10;
  inodePercent = 10;
  totalBytes = 100e9;

  async measure(folders: readonly string[]): Promise<readonly SpaceUse[]> {
    const { totalBytes, percent, inodePercent } = this;
    return folders.map((folder) => ({
      folder,
      totalBytes,
      freeBytes: totalBytes * (1 - percent / 100),
      totalInodes: 1e6,
      freeInodes: 1e6 * (1 - inodePercent / 100),
    }));
  }
}
