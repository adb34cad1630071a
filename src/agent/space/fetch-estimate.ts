import type { FetchProgress } from "../../runtime/image-keeper.ts";
import type { SpaceNeed, SpaceUse } from "./space-gauge.ts";

/**
 * What contents of layers take for each byte that is fetched of them: manifests do not say. Measured on gzipped layers of Debian packages
 * (coreutils, Perl, Python, GCC, Node): 2.4 to 3.3 bytes for each, only Perl's modules 4.0.
 */
const unpackedBytesPerByte = 3;

/**
 * As above: 34 to 180 inodes for each million bytes that are fetched, 322 for Perl's modules, which are small files throughout. ext4 has 61 inodes
 * for each million bytes of its size, so that with the 3 bytes above this counts about as much as bytes do.
 */
const inodesPerByte = 400 / 1e6;

/** What fetches still need in all, of the file systems of blobs and of snapshots, in this order. */
export function fetchNeeds(
  fetches: Iterable<FetchProgress>,
  [blobs, snapshots]: readonly SpaceUse[],
): readonly SpaceNeed[] {
  const ofBlobs = { bytes: 0, inodes: 0 };
  const ofSnapshots = { bytes: 0, inodes: 0 };
  for (const { totalBytes, fetchedBytes, presentBytes, unpackedBytes } of fetches) {
    ofBlobs.bytes += Math.max(0, totalBytes - presentBytes - fetchedBytes);
    // What lies in blobs already, or in a spool since before a restart, has still to be unpacked.
    const packedBytes = Math.max(0, totalBytes - unpackedBytes);
    ofSnapshots.bytes += packedBytes * unpackedBytesPerByte;
    ofSnapshots.inodes += packedBytes * inodesPerByte;
  }
  if (blobs === undefined || snapshots === undefined || !areOne(blobs, snapshots)) return [ofBlobs, ofSnapshots];
  const both = { bytes: ofBlobs.bytes + ofSnapshots.bytes, inodes: ofSnapshots.inodes };
  return [both, both];
}

/** Volumes of one file system may have numbers of their own, and then the same space. */
function areOne(a: SpaceUse, b: SpaceUse): boolean {
  return a.device === b.device || (a.totalBytes === b.totalBytes && a.freeBytes === b.freeBytes);
}
