/** How full a file system is. */
export type SpaceUse = {
  /** A folder on it. */
  readonly folder: string;
  /** Which one it is: others have other numbers. */
  readonly device: number;
  readonly totalBytes: number;
  /** What programs without privileges may still write: kubelet and `df` count so too. */
  readonly freeBytes: number;
  /** 0 where the file system makes inodes as it needs them. */
  readonly totalInodes: number;
  readonly freeInodes: number;
};

/** Says how full the file systems below folders are. */
export interface SpaceGauge {
  /** In the order of the folders; two on one file system have the same numbers. Throws `HostError` when one cannot be asked. */
  measure(folders: readonly string[]): Promise<readonly SpaceUse[]>;
}

/** What is still to be written to a file system. */
export type SpaceNeed = { readonly bytes: number; readonly inodes: number };

/** Percent of bytes or of inodes in use, whichever is more, once what is needed is written. */
export function usedPercent({ totalBytes, freeBytes, totalInodes, freeInodes }: SpaceUse, need?: SpaceNeed): number {
  const ofBytes = totalBytes === 0 ? 0 : 1 - (freeBytes - (need?.bytes ?? 0)) / totalBytes;
  const ofInodes = totalInodes === 0 ? 0 : 1 - (freeInodes - (need?.inodes ?? 0)) / totalInodes;
  return 100 * Math.max(ofBytes, ofInodes);
}
