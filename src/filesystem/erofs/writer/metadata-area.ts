import { blockBytes } from "../constants.ts";
import { AreaWriter } from "./area-writer.ts";
import { MetadataAllocator } from "./metadata-allocator.ts";
import type { RandomAccessOutput } from "./output.ts";

/** The inodes and directories of one image while they are written. */
export type MetadataArea = {
  /** First block of the area in its image, for the addresses of directory blocks. */
  readonly firstBlock: number;
  readonly allocator: MetadataAllocator;
  readonly writer: AreaWriter;
  inodeCount: number;
  /** Whether an inode uses chunks, which asks for the feature bit. */
  hasChunks: boolean;
};

/** `outputBlock`: where the area begins in the output, which for a layer image is not where it begins in its image. */
export function createMetadataArea(output: RandomAccessOutput, firstBlock: number, outputBlock: number): MetadataArea {
  return {
    firstBlock,
    allocator: new MetadataAllocator(),
    writer: new AreaWriter(output, outputBlock * blockBytes),
    inodeCount: 0,
    hasChunks: false,
  };
}
