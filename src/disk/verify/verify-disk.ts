import type { ByteSource } from "../../filesystem/byte-source.ts";
import { type Problem, ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { DiskReader } from "../reader/disk-reader.ts";
import { type Blob, listBlobs } from "./blob-hashes.ts";
import { checkData } from "./data-check.ts";
import { checkDocuments } from "./document-check.ts";
import { guard, isDamage } from "./guard.ts";
import { checkFolders, checkIndex, checkIndexText } from "./index-check.ts";
import { checkTrees } from "./trees-check.ts";

export type VerifyPhase = "data" | "trees" | "merged trees" | "layer images";

/** In `data`, `done` and `total` are bytes; else trees. */
export type VerifyProgress = { readonly phase: VerifyPhase; readonly done: number; readonly total: number };

export type VerifyOptions = {
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
};

export type VerifyResult = {
  /** At most 100. */
  readonly problems: readonly Problem[];
  /** Problems beyond those. */
  readonly omitted: number;
  /** What was looked at; undefined when the disk was too damaged to be opened. */
  readonly checked:
    | {
        readonly id: string;
        readonly sizeBytes: number;
        readonly contents: number;
        readonly inodes: number;
        readonly layerTrees: number;
        readonly mergedTrees: number;
        readonly layerImages: number;
      }
    | undefined;
};

/**
 * Finds everything that can be wrong with a disk, without root and without mounting it: each byte of the image against the
 * digests that the id covers, the file system against the format, the index against documents and trees, merged trees and
 * layer images against the layer trees. What lies behind the image is ignored. Closes neither on success nor on failure.
 *
 * Throws `DiskError` `not-a-disk` or `unknown-version` when there is nothing to verify, and errors of reading.
 */
export async function verifyDisk(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyResult> {
  const problems = new ProblemList();
  const disk = await openForVerify(source, problems);
  if (disk === undefined) return { problems: problems.problems, omitted: 0, checked: undefined };

  const blobs = disk.index.images.length === 0 ? [] : await guard(problems, "/blobs", () => listBlobs(disk, problems));
  await guard(problems, "data", () => checkData(disk, blobs ?? [], problems, options));
  const expected = checkIndex(disk.index, problems);
  await guard(problems, "/nodewarm.json", () => checkIndexText(disk, problems));
  await guard(problems, "/", () => checkFolders(disk, expected, problems));
  const documents: readonly Blob[] = blobs ?? [];
  await guard(problems, "/blobs", () => checkDocuments(disk, documents, problems, options.signal));
  const trees = await guard(problems, "/", () => checkTrees(disk, expected, problems, options));
  return {
    problems: problems.problems,
    omitted: problems.omitted,
    checked: {
      id: disk.id,
      sizeBytes: disk.image.sizeBytes,
      contents: disk.files.contentCount,
      inodes: trees?.inodeCount ?? 0,
      layerTrees: expected.layers.size,
      mergedTrees: expected.merged.size,
      layerImages: trees?.layerImages ?? 0,
    },
  };
}

async function openForVerify(source: ByteSource, problems: ProblemList): Promise<DiskReader | undefined> {
  try {
    return await DiskReader.open(source);
  } catch (error) {
    if (!isDamage(error) || error.code === "not-a-disk" || error.code === "unknown-version") throw error;
    problems.add("disk", error.message);
    return undefined;
  }
}
