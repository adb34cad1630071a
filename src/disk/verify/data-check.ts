import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { blockBytes, dataLayout, superblock } from "../../filesystem/erofs/constants.ts";
import { readWholeFile } from "../../filesystem/erofs/reader/file-data.ts";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { areaKind } from "../files-format.ts";
import { type DiskReader, filesPath, indexPath } from "../reader/disk-reader.ts";
import { type Blob, BlobHashes } from "./blob-hashes.ts";
import { checkCoverage, digestUnits } from "./coverage.ts";
import { checkDigests, type DigestPassOptions, type Patch } from "./digest-pass.ts";
import type { VerifyOptions } from "./verify-disk.ts";

const maxIndexBytes = 256 << 20;
const zeroDigit = 0x30;

/** Every block of the image against its digest, and that each block has one (`docs/disk-format.md`, sections 5 and 6). */
export async function checkData(
  disk: DiskReader,
  blobs: readonly Blob[],
  problems: ProblemList,
  options: VerifyOptions & Pick<DigestPassOptions, "inThisThread">,
): Promise<void> {
  const { image, files } = disk;
  const indexInode = await disk.lookup(indexPath);
  const filesInode = await disk.lookup(filesPath);
  for (const [path, inode] of [
    [indexPath, indexInode],
    [filesPath, filesInode],
  ] as const) {
    if (inode.layout !== dataLayout.flatPlain) problems.add(path, "is not stored in one piece");
  }
  checkCoverage(files, filesInode.union, problems);
  checkAreas(disk, indexInode, problems);

  const hashes = new BlobHashes(blobs);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    options.onProgress?.({ phase: "data", done, total: image.sizeBytes });
  };
  await checkDigests(disk.source, digestUnits(files), problems, {
    patches: await patches(disk, indexInode, problems),
    endBytes: image.sizeBytes,
    onUnit: (unit, data) => {
      if (unit.kind === areaKind.blobs) hashes.update(unit.position, data, problems);
    },
    onBytes,
    inThisThread: options.inThisThread ?? false,
    ...(options.signal && { signal: options.signal }),
  });
  hashes.finish(problems);
  await checkZeros(disk, filesInode.union * blockBytes + filesInode.sizeBytes, problems);
  await checkZeros(disk, indexInode.union * blockBytes + indexInode.sizeBytes, problems, filesInode.union * blockBytes);
  onBytes(image.sizeBytes - done);
}

/** What digests are taken without: checksum and UUID of the superblock, and the digits of the id. */
async function patches(disk: DiskReader, indexInode: Inode, problems: ProblemList): Promise<readonly Patch[]> {
  const index = await readWholeFile(disk.image, indexInode, maxIndexBytes, indexPath);
  const offset = index.indexOf(`"id": "${disk.id}"`);
  if (offset === -1) problems.add(indexPath, "the id is not written as it must be");
  return [
    { position: superblock.position + superblock.checksum, length: 4, fill: 0 },
    { position: superblock.position + superblock.uuid, length: 16, fill: 0 },
    { position: indexInode.union * blockBytes + offset + '"id": "'.length, length: 64, fill: zeroDigit },
  ];
}

/** Areas must be where the things they are named after are. */
function checkAreas(disk: DiskReader, indexInode: Inode, problems: ProblemList): void {
  const { files, image } = disk;
  const areas = Array.from({ length: files.areaCount }, (_, i) => files.area(i));
  const one = (kind: number, what: string, firstBlock: number, blockCount?: number) => {
    const [area, ...others] = areas.filter((each) => each.kind === kind);
    const fits =
      area?.firstBlock === firstBlock &&
      (blockCount === undefined || area.blockCount === blockCount) &&
      others.length === 0;
    if (!fits) problems.add(filesPath, `the area of ${what} is not where it must be`);
  };
  one(areaKind.superblock, "the superblock", 0, 1);
  one(areaKind.metadata, "the metadata", image.superblock.metadataBlock);
  one(areaKind.index, "the index", indexInode.union, Math.ceil(indexInode.sizeBytes / blockBytes));
}

async function checkZeros(
  disk: DiskReader,
  from: number,
  problems: ProblemList,
  end = disk.image.sizeBytes,
): Promise<void> {
  const piece = Buffer.alloc(1 << 20);
  for (let position = from; position < end; position += piece.length) {
    const bytes = piece.subarray(0, Math.min(piece.length, end - position));
    await disk.source.read(position, bytes);
    const index = bytes.findIndex((byte) => byte !== 0);
    if (index !== -1) return problems.add(`byte ${position + index}`, "must be zero and is not");
  }
}
