import { blockBytes, chunkFormat, featureIncompat } from "../../filesystem/erofs/constants.ts";
import { placeDirectories, writeDirectories } from "../../filesystem/erofs/writer/directories.ts";
import { type ContentPlaces, writeLeafInodes } from "../../filesystem/erofs/writer/leaf-inodes.ts";
import { createMetadataArea } from "../../filesystem/erofs/writer/metadata-area.ts";
import type { RandomAccessOutput } from "../../filesystem/erofs/writer/output.ts";
import type { SkeletonFile } from "../../filesystem/erofs/writer/skeleton.ts";
import { encodeSuperblock } from "../../filesystem/erofs/writer/superblock.ts";
import type { DirectoryAttributes } from "../../filesystem/layer-instance.ts";
import { layerView } from "../../filesystem/tree-view.ts";
import { isOverlayXattr } from "../../filesystem/whiteouts.ts";
import { fileType, type LayerTree, noContent } from "../../layers/layer-tree.ts";
import { type Digest, digestHex } from "../../oci/descriptor.ts";
import type { ContentStore } from "./contents/content-store.ts";

/** Contents of a layer in their order, each once: its regular files come last and stand in that order. */
function* layerContents(tree: LayerTree): Iterable<number> {
  let last = noContent;
  for (let inode = tree.directoryCount; inode < tree.inodeCount; inode++) {
    const content = tree.payload[inode];
    const { mode } = tree.attributes[tree.attribute[inode]];
    if ((mode & fileType.mask) !== fileType.regular || content === noContent || content === last) continue;
    last = content;
    yield content;
  }
}

/** Places within a layer image: one content after the other from block 1. Asked for contents in their order. */
class LayerImagePlaces implements ContentPlaces {
  readonly #contents: ContentStore;
  #content = noContent;
  #block = 1;
  #next = 1;

  constructor(contents: ContentStore) {
    this.#contents = contents;
  }

  sizeBytes(content: number): number {
    return this.#contents.sizeBytes(content);
  }

  firstBlock(content: number): number {
    if (content !== this.#content) {
      this.#content = content;
      this.#block = this.#next;
      this.#next += this.#contents.blockCount(content);
    }
    return this.#block;
  }

  chunkBlocks(content: number): Uint32Array | undefined {
    const first = this.firstBlock(content);
    const onDisk = this.#contents.chunkBlocks(content);
    const distance = this.#contents.firstBlock(content) - first;
    return onDisk?.map((block) => (block === chunkFormat.hole ? block : block - distance));
  }
}

export type LayerImage = {
  /** Blocks on the disk: its superblock, then its metadata area. */
  readonly blockCount: number;
  readonly file: SkeletonFile;
};

/** Writes the image of one layer at block `outputBlock`: only its superblock and metadata, the data blocks are the disk's own. */
export async function writeLayerImage(
  output: RandomAccessOutput,
  outputBlock: number,
  diffID: Digest,
  tree: LayerTree,
  contents: ContentStore,
  createdSeconds: number,
): Promise<LayerImage> {
  let dataBlocks = 0;
  for (const content of layerContents(tree)) dataBlocks += contents.blockCount(content);
  const area = createMetadataArea(output, 1 + dataBlocks, outputBlock + 1);
  const view = layerView({ tree, implied: plainDirectories(tree) });
  const places = await placeDirectories(area, view);
  const leafNids = await writeLeafInodes(area, tree, new LayerImagePlaces(contents));
  await writeDirectories(area, view, places, [leafNids], places.nids[0]);
  const metadataBlocks = area.allocator.blockCount;
  await area.writer.finish(metadataBlocks * blockBytes);
  const blockCount = 1 + dataBlocks + metadataBlocks;
  await output.write(
    encodeSuperblock({
      rootNid: places.nids[0],
      inodeCount: area.inodeCount,
      buildTime: createdSeconds,
      blockCount,
      metadataBlock: 1 + dataBlocks,
      uuid: Buffer.from(digestHex(diffID), "hex").subarray(0, 16),
      volumeName: "",
      featureIncompat: area.hasChunks ? featureIncompat.chunkedFile : 0,
    }),
    outputBlock * blockBytes,
  );
  return {
    blockCount: 1 + metadataBlocks,
    file: {
      kind: "file",
      mapEntries: blockCount,
      place: () => ({
        sizeBytes: blockCount * blockBytes,
        blocks: blockMap(outputBlock, dataBlocks, metadataBlocks, tree, contents),
      }),
    },
  };
}

/** Directories that the tar only implies: the image stands alone, so they are 0755 0:0, opaque where the layer says so. */
function plainDirectories(tree: LayerTree): ReadonlyMap<number, DirectoryAttributes> {
  const plain = new Map<number, DirectoryAttributes>();
  if (tree.impliedDirectoryCount === 0) return plain;
  for (let directory = 1; directory < tree.directoryCount; directory++) {
    if (tree.payload[directory] !== 1) continue;
    const { xattrs } = tree.attributes[tree.attribute[directory]];
    plain.set(directory, {
      mode: fileType.directory | 0o755,
      uid: 0,
      gid: 0,
      xattrs: xattrs.filter(isOverlayXattr),
      mtimeSeconds: 0,
      mtimeNanoseconds: 0,
    });
  }
  return plain;
}

/** The disk's block behind each block of a layer image. */
function blockMap(
  outputBlock: number,
  dataBlocks: number,
  metadataBlocks: number,
  tree: LayerTree,
  contents: ContentStore,
): Uint32Array {
  const map = new Uint32Array(1 + dataBlocks + metadataBlocks);
  let next = 0;
  map[next++] = outputBlock;
  for (const content of layerContents(tree)) {
    const first = contents.firstBlock(content);
    const count = contents.blockCount(content);
    for (let i = 0; i < count; i++) map[next++] = first + i;
  }
  for (let i = 0; i < metadataBlocks; i++) map[next++] = outputBlock + 1 + i;
  return map;
}
