import { createHash, type Hash, hash } from "node:crypto";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { blockBytes, dataLayout } from "../../filesystem/erofs/constants.ts";
import { type Inode, isRegular } from "../../filesystem/erofs/reader/inode-parser.ts";
import { directoryEntries } from "../../filesystem/erofs/reader/lookup.ts";
import type { DiskReader } from "../reader/disk-reader.ts";

/** A file of `/blobs/sha256`. */
export type Blob = {
  /** 64 hex digits: its name. */
  readonly hex: string;
  readonly inode: Inode;
};

const hexName = /^[0-9a-f]{64}$/;

/** The files of `/blobs/sha256` in the order of their names; reports those that cannot be blobs or stand elsewhere than they must. */
export async function listBlobs(disk: DiskReader, problems: ProblemList): Promise<Blob[]> {
  const blobs: Blob[] = [];
  let nextBlock = 1;
  for await (const entry of directoryEntries(disk.image, await disk.lookup("/blobs/sha256"))) {
    const hex = entry.name.toString("latin1");
    const place = `/blobs/sha256/${hex}`;
    const inode = await disk.image.inode(entry.nid);
    if (!hexName.test(hex) || !isRegular(inode) || inode.layout !== dataLayout.flatPlain) {
      problems.add(place, "is no blob");
      continue;
    }
    if (inode.sizeBytes === 0 && hex !== hash("sha256", "", "hex")) {
      problems.add(place, "is empty");
    } else if (inode.sizeBytes > 0 && inode.union !== nextBlock) {
      problems.add(place, `begins at block ${inode.union} instead of ${nextBlock}`);
    }
    nextBlock += Math.ceil(inode.sizeBytes / blockBytes);
    blobs.push({ hex, inode });
  }
  return blobs;
}

/** Hashes blobs while the area in which they lie is read from front to back. */
export class BlobHashes {
  readonly #blobs: readonly Blob[];
  #next = 0;
  #hash: Hash = createHash("sha256");
  #hashed = 0;

  /** `blobs` by position. */
  constructor(blobs: readonly Blob[]) {
    this.#blobs = blobs.filter(({ inode }) => inode.sizeBytes > 0);
  }

  /** The next bytes of the area, which lie at `position` of the disk. */
  update(position: number, data: Buffer, problems: ProblemList): void {
    const end = position + data.length;
    let at = position;
    while (at < end) {
      const blob = this.#blobs[this.#next];
      const start = blob === undefined ? end : blob.inode.union * blockBytes;
      const from = start + this.#hashed;
      if (from > at) {
        const until = Math.min(from, end);
        const isZero = data.subarray(at - position, until - position).every((byte) => byte === 0);
        if (!isZero) problems.add(`byte ${at}`, "the padding behind a blob is not zero");
        at = until;
        continue;
      }
      // Not where it must be, which `listBlobs` has reported.
      if (from < at) return;
      const length = Math.min(end - at, blob.inode.sizeBytes - this.#hashed);
      this.#hash.update(data.subarray(at - position, at - position + length));
      this.#hashed += length;
      at += length;
      if (this.#hashed === blob.inode.sizeBytes) this.#finishBlob(blob, problems);
    }
  }

  /** To be called when the area has been read: a blob that did not lie in it has not been hashed. */
  finish(problems: ProblemList): void {
    for (; this.#next < this.#blobs.length; this.#next++) {
      problems.add(`/blobs/sha256/${this.#blobs[this.#next].hex}`, "does not lie in the area of the blobs");
    }
  }

  #finishBlob(blob: Blob, problems: ProblemList): void {
    if (this.#hash.digest("hex") !== blob.hex) {
      problems.add(`/blobs/sha256/${blob.hex}`, "is not what the digest in its name says");
    }
    this.#hash = createHash("sha256");
    this.#hashed = 0;
    this.#next++;
  }
}
