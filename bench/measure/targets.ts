/** A figure beside what it should reach. */
export type Mark = { readonly what: string; readonly value: number; readonly limit: number; readonly met: boolean };

/** Whether `value` is at most `limit`. */
export function mark(what: string, value: number, limit: number): Mark {
  return { what, value, limit, met: value <= limit };
}

/** Wall time as a share of the pull's. */
export const wallTargets = { suite: 0.6, image: 0.9, oneLayer: 0.8 } as const;
export const peakMemoryBytes: number = 400 * (1 << 20);

/** Entries of a disk's trees and the bytes of their names. */
export type TreeCounts = {
  readonly layers: { readonly entries: number; readonly nameBytes: number };
  readonly mergedDirectories: { readonly entries: number; readonly nameBytes: number };
  readonly mergedOthers: { readonly entries: number; readonly nameBytes: number };
};

/** A disk is padded to whole MiB, and what is left of the last one counts as metadata. */
const roundingBytes = 1 << 20;

/** Bytes of metadata that a disk may have, its padding included. */
export function allowedMetadata(trees: TreeCounts): number {
  const merged = entryBytes(trees.mergedDirectories, 160) + entryBytes(trees.mergedOthers, 24);
  return roundingBytes + entryBytes(trees.layers, 120) + merged;
}

/** Bytes of contents that a disk may have, for distinct contents whose rounded sizes add up to `distinctContentBytes`. */
export function allowedContents(distinctContentBytes: number): number {
  return (distinctContentBytes * 1005) / 1000;
}

/** Bytes that layer images may add, for layer trees with `blocks` blocks of contents, padding included. */
export function allowedLayerImages(layers: TreeCounts["layers"], blocks: number): number {
  return roundingBytes + entryBytes(layers, 120) + blocks * 4.1;
}

/** Bytes that the temporary file may take while a disk of `finalBytes` is made. */
export function allowedTemporary(finalBytes: number): number {
  return Math.max(finalBytes * 1.25, finalBytes + (1 << 30));
}

/** Seconds that a build with `--from` may take. */
export function allowedFrom(fullSeconds: number, copySeconds: number): number {
  return fullSeconds * 0.05 + copySeconds;
}

function entryBytes(counts: { entries: number; nameBytes: number }, perEntry: number): number {
  return counts.entries * perEntry + counts.nameBytes;
}
