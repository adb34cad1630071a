import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../layers/content.ts";
import { areaKind } from "../files-format.ts";
import type { FilesTable } from "../reader/files-table.ts";

const blocksPerChunk = chunkBytes / blockBytes;

/** A run of blocks that `/nodewarm.files` vouches for: a content or an area. */
type Run = {
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly content: number;
  readonly area: number;
  readonly rank: number;
};

/** What one digest covers. */
export type Unit = {
  /** In the image, in bytes. */
  readonly position: number;
  readonly length: number;
  /** With the zeros that fill the last block. */
  readonly paddedLength: number;
  readonly digest: Buffer;
  /** A value of `areaKind`, or undefined for a content. */
  readonly kind: number | undefined;
};

/** Where each kind of area stands (`docs/disk-format.md`, section 2); contents are 2. */
const contentRank = 2;
const rankOfKind = new Map<number, number>([
  [areaKind.superblock, 0],
  [areaKind.blobs, 1],
  [areaKind.layerMetadata, 3],
  [areaKind.metadata, 4],
  [areaKind.index, 5],
]);

/** Contents and areas by first block. */
function* runs(files: FilesTable): Generator<Run> {
  let small = 0;
  let large = files.smallCount;
  let area = 0;
  const content = (number: number): Run => ({
    firstBlock: files.firstBlock(number),
    blockCount: files.blockCount(number),
    content: number,
    area: -1,
    rank: contentRank,
  });
  for (;;) {
    const smallAt = small < files.smallCount ? files.firstBlock(small) : Number.POSITIVE_INFINITY;
    const largeAt = large < files.contentCount ? files.firstBlock(large) : Number.POSITIVE_INFINITY;
    const areaAt = area < files.areaCount ? files.area(area).firstBlock : Number.POSITIVE_INFINITY;
    if (largeAt <= smallAt && largeAt <= areaAt) {
      if (largeAt === Number.POSITIVE_INFINITY) return;
      yield content(large++);
    } else if (smallAt <= areaAt) {
      yield content(small++);
    } else {
      const { firstBlock, blockCount, kind } = files.area(area);
      yield { firstBlock, blockCount, content: -1, area: area++, rank: rankOfKind.get(kind) ?? 0 };
    }
  }
}

/** Reports where contents and areas leave blocks out, overlap or stand in another order; `filesBlock` is where they must end. */
export function checkCoverage(files: FilesTable, filesBlock: number, problems: ProblemList): void {
  let next = 0;
  let rank = 0;
  for (const run of runs(files)) {
    if (run.firstBlock > next)
      problems.add("/nodewarm.files", `blocks ${next} to ${run.firstBlock - 1} belong to nothing`);
    if (run.firstBlock < next) problems.add("/nodewarm.files", `block ${run.firstBlock} belongs to two things`);
    if (run.rank < rank)
      problems.add("/nodewarm.files", `what begins at block ${run.firstBlock} stands in the wrong order`);
    if (problems.isFull) return;
    next = run.firstBlock + run.blockCount;
    rank = run.rank;
  }
  if (next !== filesBlock) {
    problems.add("/nodewarm.files", `begins at block ${filesBlock}, but what it covers ends at block ${next}`);
  }
}

/** Everything that has a digest, by position. */
export function* digestUnits(files: FilesTable): Generator<Unit> {
  for (const run of runs(files)) {
    if (run.area >= 0) yield* areaUnits(files, run.area);
    else if (files.isLarge(run.content)) yield* largeUnits(files, run.content);
    else yield unit(run.firstBlock, files.sizeBytes(run.content), files.smallDigest(run.content), undefined);
  }
}

function* areaUnits(files: FilesTable, index: number): Generator<Unit> {
  const area = files.area(index);
  for (let block = 0, chunk = area.firstChunk; block < area.blockCount; block += blocksPerChunk, chunk++) {
    const blocks = Math.min(blocksPerChunk, area.blockCount - block);
    yield unit(area.firstBlock + block, blocks * blockBytes, files.chunkDigest(chunk), area.kind);
  }
}

function* largeUnits(files: FilesTable, content: number): Generator<Unit> {
  const size = files.sizeBytes(content);
  const firstChunk = files.firstChunk(content);
  let block = files.firstBlock(content);
  for (let offset = 0, chunk = firstChunk; offset < size; offset += chunkBytes, chunk++) {
    if (files.isHole(chunk)) continue;
    yield unit(block, Math.min(chunkBytes, size - offset), files.chunkDigest(chunk), undefined);
    block += blocksPerChunk;
  }
}

function unit(firstBlock: number, length: number, digest: Buffer, kind: number | undefined): Unit {
  const paddedLength = Math.ceil(length / blockBytes) * blockBytes;
  return { position: firstBlock * blockBytes, length, paddedLength, digest, kind };
}
