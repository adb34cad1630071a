import { rootPlace } from "../../filesystem/erofs/checker/place.ts";
import { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { checkErofs } from "../../filesystem/erofs/checker.ts";
import { blockBytes, chunkFormat, dataLayout } from "../../filesystem/erofs/constants.ts";
import { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { openInnerFile } from "../../filesystem/erofs/reader/file-data.ts";
import { type Inode, isRegular } from "../../filesystem/erofs/reader/inode-parser.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import { contentOfInode, dataDifference } from "../reader/inode-content.ts";
import { guard } from "./guard.ts";
import { type ImpliedDirectories, namesBelow } from "./implied-directories.ts";
import { directoryXattrDifference, hasAcls, type LowerLayers, otherXattrDifference } from "./inherited-xattrs.ts";
import { differenceOf, withoutOverlayXattrs } from "./inode-attributes.ts";
import { checkTwins } from "./twin-tree-check.ts";

export type LayerOfImage = {
  /** 64 hex digits. */
  readonly diffIDHex: string;
  /** Its tree, such as `layers/<hex>`. */
  readonly tree: string;
  /** Numbers of its contents in the order of the layer. */
  readonly contents: Uint32Array;
  /** The directories that the layer's tar only implies: the image of the layer has them bare. */
  readonly implied: ImpliedDirectories;
  /** Of a tree that has xattrs from the layers below, which the image of the layer lacks: those layers. */
  readonly lower: LowerLayers | undefined;
};

const mapPieceChunks = 16 * 1024;

/**
 * Checks the image of one layer: its own structure, that its blocks are those of the layer's contents on the disk, and that
 * its tree is that of the layer. `metadataBlock` is where its superblock must lie on the disk; returns where that of the
 * next image must.
 */
export async function checkLayerImage(
  disk: DiskReader,
  layer: LayerOfImage,
  metadataBlock: number,
  /** By content number; reused from layer to layer. */
  places: Uint32Array,
  problems: ProblemList,
  signal?: AbortSignal,
): Promise<number> {
  const path = `/erofs/sha256/${layer.diffIDHex.slice(0, 2)}/${layer.diffIDHex}.erofs`;
  const file = await disk.lookup(path);
  let dataBlocks = 0;
  for (const content of layer.contents) {
    places[content] = 1 + dataBlocks;
    dataBlocks += disk.files.blockCount(content);
  }
  const blocks = Math.ceil(file.sizeBytes / blockBytes);
  const next = metadataBlock + Math.max(1, blocks - dataBlocks);
  if (!isRegular(file) || file.layout !== dataLayout.chunkBased || (file.union & chunkFormat.bitsMask) !== 0) {
    problems.add(path, "is no file of chunks of one block");
    return next;
  }
  if (!(await mapIsExact(disk, file, blocks, layer.contents, metadataBlock))) {
    problems.add(path, "does not consist of its superblock, the layer's contents and its metadata");
    return next;
  }
  await guard(problems, path, async () => {
    const image = await ErofsImage.open(openInnerFile(disk.image, file, path), { cacheBytes: 16 << 20 });
    const isTree = await checkInner(disk, image, layer, path, problems, signal);
    if (isTree) await compareTree(disk, image, layer, path, places, problems, signal);
  });
  return next;
}

async function mapIsExact(
  disk: DiskReader,
  file: Inode,
  blocks: number,
  contents: Uint32Array,
  metadataBlock: number,
): Promise<boolean> {
  const expected = expectedMap(disk, contents, metadataBlock);
  for (let first = 0; first < blocks; first += mapPieceChunks) {
    const count = Math.min(mapPieceChunks, blocks - first);
    const map = await disk.image.chunkMap(file, first, count);
    for (let i = 0; i < count; i++) if (map.readUInt32LE(i * 4) !== expected.next().value) return false;
  }
  return true;
}

function* expectedMap(disk: DiskReader, contents: Uint32Array, metadataBlock: number): Generator<number, number> {
  let metadata = metadataBlock;
  yield metadata++;
  for (const content of contents) {
    const first = disk.files.firstBlock(content);
    const end = first + disk.files.blockCount(content);
    for (let block = first; block < end; block++) yield block;
  }
  for (;;) yield metadata++;
}

async function checkInner(
  disk: DiskReader,
  image: ErofsImage,
  layer: LayerOfImage,
  path: string,
  problems: ProblemList,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { superblock } = image;
  if (Buffer.from(superblock.uuid).toString("hex") !== layer.diffIDHex.slice(0, 32)) {
    problems.add(path, "its UUID is not the beginning of the diffID");
  }
  if (superblock.buildTime !== disk.image.superblock.buildTime)
    problems.add(path, "its build time is not that of the disk");
  if (image.sizeBytes !== image.source.sizeBytes) problems.add(path, "is longer than its superblock says");
  const inner = new ProblemList();
  const { isTree } = await checkErofs(image, { profile: "layer-image", problems: inner, ...(signal && { signal }) });
  for (const { place, message } of inner.problems) problems.add(`${path}:${place}`, message);
  return isTree;
}

async function compareTree(
  disk: DiskReader,
  image: ErofsImage,
  layer: LayerOfImage,
  path: string,
  places: Uint32Array,
  problems: ProblemList,
  signal: AbortSignal | undefined,
): Promise<void> {
  /** Inodes with several entries: the same ones must share an inode in both trees. */
  const twins = new Map<number, number>();
  const differ = new ProblemList();
  const { lower } = layer;
  const treeRoot = await disk.lookup(layer.tree);
  // ACLs of its own directories reach into implied ones, which the image has bare.
  const areAclsSame =
    lower !== undefined && !(await lower.haveAcls(signal)) && !(await hasAcls(disk, treeRoot, signal));
  const xattrsOf = (inodes: { readonly tree: Inode; readonly twin: Inode }) =>
    Promise.all([disk.image.xattrs(inodes.tree), image.xattrs(inodes.twin)]);
  await checkTwins(
    { image: disk.image, nid: treeRoot.nid },
    { image, nid: image.superblock.rootNid },
    rootPlace,
    {
      directory: async (tree, twin, place) => {
        if (layer.implied.has(tree.nid)) return bareDifference(image, twin);
        const [xattrs, twins] = await xattrsOf({ tree, twin });
        if (lower === undefined) return differenceOf(twin, twins, tree, xattrs);
        return (
          differenceOf(twin, [], tree, []) ??
          directoryXattrDifference(
            { xattrs, lower },
            { xattrs: twins, lower: undefined },
            () => namesBelow(place, rootPlace),
            areAclsSame,
          )
        );
      },
      other: async (treeNid, twinNid) => {
        const known = twins.get(treeNid);
        if (known !== undefined) return known === twinNid ? undefined : "is not the same file as in the layer tree";
        const tree = await disk.image.inode(treeNid);
        const twin = await image.inode(twinNid);
        if (tree.linkCount > 1) twins.set(treeNid, twinNid);
        const [xattrs, twinXattrs] = await xattrsOf({ tree, twin });
        const difference =
          lower === undefined
            ? differenceOf(twin, twinXattrs, tree, xattrs)
            : (differenceOf(twin, [], tree, []) ?? otherXattrDifference(twinXattrs, xattrs, areAclsSame));
        return difference ?? otherDifference(disk, tree, image, twin, places);
      },
    },
    differ,
    signal,
  );
  for (const { place, message } of differ.problems) problems.add(`${path}:${place}`, message);
}

async function otherDifference(
  disk: DiskReader,
  tree: Inode,
  image: ErofsImage,
  twin: Inode,
  places: Uint32Array,
): Promise<string | undefined> {
  if (tree.linkCount !== twin.linkCount) return `has ${twin.linkCount} links instead of ${tree.linkCount}`;
  if (tree.sizeBytes !== twin.sizeBytes) return `has ${twin.sizeBytes} bytes instead of ${tree.sizeBytes}`;
  if (isRegular(tree)) {
    if (tree.sizeBytes === 0) return undefined;
    const content = await contentOfInode(disk.image, tree, disk.files);
    return dataDifference(image, twin, disk.files, content, places[content]);
  }
  if (tree.sizeBytes === 0) return tree.union === twin.union ? undefined : "has another device number";
  const same = (await disk.image.linkTarget(tree)).equals(await image.linkTarget(twin));
  return same ? undefined : "has another link target";
}

/** What is wrong with a directory that must be as one of which the tar says nothing. */
async function bareDifference(image: ErofsImage, twin: Inode): Promise<string | undefined> {
  const isBare =
    twin.mode === 0o040755 &&
    twin.uid === 0 &&
    twin.gid === 0 &&
    twin.mtimeSeconds === 0 &&
    twin.mtimeNanoseconds === 0 &&
    withoutOverlayXattrs(await image.xattrs(twin)).length === 0;
  return isBare ? undefined : "is implied by the layer but not 0755, 0:0, dated 0 and without xattrs";
}
