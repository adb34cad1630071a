import { type Place, placeInside, rootPlace, showPlace } from "../../filesystem/erofs/checker/place.ts";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { type CheckResult, checkErofs } from "../../filesystem/erofs/checker.ts";
import { dataLayout } from "../../filesystem/erofs/constants.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { type Inode, isDirectory, isSymbolicLink } from "../../filesystem/erofs/reader/inode-parser.ts";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind } from "../files-format.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import { guard } from "./guard.ts";
import { checkImplied, findImplied, type ImpliedDirectories, namesBelow } from "./implied-directories.ts";
import type { ExpectedLayer, ExpectedTrees } from "./index-check.ts";
import { directoryXattrDifference, LowerLayers, otherXattrDifference } from "./inherited-xattrs.ts";
import { differenceOf } from "./inode-attributes.ts";
import { LayerContents } from "./layer-contents.ts";
import { checkLayerImage } from "./layer-image-check.ts";
import { checkMergedTree } from "./merged-tree-check.ts";
import { checkTwins } from "./twin-tree-check.ts";
import type { VerifyOptions } from "./verify-disk.ts";

export type TreesResult = { readonly inodeCount: number; readonly layerImages: number };

/** The file system and all trees on it (`docs/disk-format.md`, sections 1 to 3). */
export async function checkTrees(
  disk: DiskReader,
  expected: ExpectedTrees,
  problems: ProblemList,
  options: VerifyOptions,
): Promise<TreesResult> {
  const contents = new LayerContents(disk, problems);
  const { inodeCount, isTree } = await walkAll(disk, expected, contents, problems, options);
  if (!isTree || problems.isFull) return { inodeCount, layerImages: 0 };
  const treeOfDiffID = new Map<string, string>();
  for (const [path, { diffIDHex }] of expected.layers) {
    if (!treeOfDiffID.has(diffIDHex)) treeOfDiffID.set(diffIDHex, path);
  }
  const diffIDs = [...treeOfDiffID.keys()].sort();
  const firstTrees = diffIDs.map((hex) => treeOfDiffID.get(hex) ?? "");
  contents.checkOrder(firstTrees);
  await checkChainTrees(disk, expected, treeOfDiffID, problems, options.signal);
  await checkMergedTrees(disk, expected, problems, options);
  const layerImages = disk.index.erofsCache
    ? await checkLayerImages(disk, expected, firstTrees, contents, problems, options)
    : 0;
  return { inodeCount, layerImages };
}

async function walkAll(
  disk: DiskReader,
  expected: ExpectedTrees,
  contents: LayerContents,
  problems: ProblemList,
  options: VerifyOptions,
): Promise<CheckResult> {
  const created = Date.parse(disk.index.created) / 1000;
  if (disk.image.superblock.buildTime !== created) problems.add("superblock", "the build time is not `created`");
  const metadata = Array.from({ length: disk.files.areaCount }, (_, i) => disk.files.area(i)).find(
    ({ kind }) => kind === areaKind.metadata,
  );
  let done = 0;
  return checkErofs(disk.image, {
    profile: "disk",
    problems,
    ...(metadata && { metadataEndBlock: metadata.firstBlock + metadata.blockCount }),
    ...(options.signal && { signal: options.signal }),
    scopeOf: (place) => {
      if (place.depth !== 2) return "same";
      const folder = place.parent?.name.toString("latin1");
      return folder === "layers" ? "own" : folder === "images" ? "borrowing" : "same";
    },
    onInode: async (inode, place, tree) => {
      if (tree.depth === 0) return checkOwnInode(inode, place, created, problems);
      try {
        await contents.add(inode);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        problems.add(showPlace(place), error.message);
      }
    },
    onTreeEnd: (tree) => {
      contents.endTree(showPlace(tree).slice(1));
      done++;
      options.onProgress?.({ phase: "trees", done, total: expected.layers.size });
    },
  });
}

/** Directories and files that Nodewarm adds. */
function checkOwnInode(inode: Inode, place: Place, created: number, problems: ProblemList): void {
  const mode = isDirectory(inode) ? 0o040755 : 0o100444;
  const isPlain =
    inode.mode === mode &&
    inode.uid === 0 &&
    inode.gid === 0 &&
    inode.xattrBytes === 0 &&
    inode.mtimeSeconds === created &&
    inode.mtimeNanoseconds === 0;
  if (!isPlain) problems.add(showPlace(place), "has other attributes than what Nodewarm adds to a disk");
}

/** Each tree by itself, and those of one layer in different chains against the first of them. */
async function checkChainTrees(
  disk: DiskReader,
  expected: ExpectedTrees,
  treeOfDiffID: ReadonlyMap<string, string>,
  problems: ProblemList,
  signal: AbortSignal | undefined,
): Promise<void> {
  const rootsByPath = new Map<string, Inode>();
  for (const [path, layer] of expected.layers) {
    await guard(problems, `/${path}`, async () => {
      const implied = await findImplied(disk, path, layer.impliedDirectories);
      if (implied.size !== layer.impliedDirectories.length) {
        problems.add(`/${path}`, "the index names implied directories that it does not have");
      }
      await checkImplied(disk, path, implied, layer, rootsByPath, problems);
      const first = treeOfDiffID.get(layer.diffIDHex);
      const firstLayer = first === undefined ? undefined : expected.layers.get(first);
      if (first === undefined || firstLayer === undefined || first === path) return;
      const pair = [
        { path: first, layer: firstLayer },
        { path, layer },
      ] as const;
      await checkTwinTrees(disk, pair, implied, rootsByPath, problems, signal);
    });
  }
}

type ExpectedTree = { readonly path: string; readonly layer: ExpectedLayer };

/**
 * Trees of the same layer in different chains differ in the attributes of implied directories only, and share all other inodes. Where they
 * inherit from the layers below, their xattrs may differ in what those give, and inodes are shared or not.
 */
async function checkTwinTrees(
  disk: DiskReader,
  [first, second]: readonly [ExpectedTree, ExpectedTree],
  /** Of `second`. */
  implied: ImpliedDirectories,
  /** Those of layer trees that were looked up before, by path. */
  rootsByPath: Map<string, Inode>,
  problems: ProblemList,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { image } = disk;
  const differ = first.layer.inherits || second.layer.inherits;
  const lowers = [first, second].map(({ layer }) => new LowerLayers(disk, layer, rootsByPath));
  let areAclsSame = true;
  for (const lower of differ ? lowers : []) areAclsSame &&= !(await lower.haveAcls(signal));
  const start = placeOf(second.path);
  await checkTwins(
    { image, nid: (await disk.lookup(first.path)).nid },
    { image, nid: (await disk.lookup(second.path)).nid },
    start,
    {
      directory: async (a, b, place) => {
        if (implied.has(b.nid)) return undefined;
        const [xattrs, others] = [await image.xattrs(a), await image.xattrs(b)];
        if (!differ) return differenceOf(b, others, a, xattrs);
        return (
          differenceOf(b, [], a, []) ??
          directoryXattrDifference(
            { xattrs, lower: lowers[0] },
            { xattrs: others, lower: lowers[1] },
            () => namesBelow(place, start),
            areAclsSame,
          )
        );
      },
      other: async (a, b) => {
        if (a === b) return undefined;
        return differ ? copyDifference(image, a, b, areAclsSame) : `is inode ${b}, but ${a} in ${first.path}`;
      },
    },
    problems,
    signal,
  );
}

/** Two inodes that have all in common, but perhaps ACLs. */
async function copyDifference(
  image: ErofsImage,
  nid: number,
  twinNid: number,
  areAclsSame: boolean,
): Promise<string | undefined> {
  const [tree, twin] = [await image.inode(nid), await image.inode(twinNid)];
  const difference =
    differenceOf(twin, [], tree, []) ??
    otherXattrDifference(await image.xattrs(twin), await image.xattrs(tree), areAclsSame);
  if (difference !== undefined) return difference;
  if (tree.linkCount !== twin.linkCount) return `has ${twin.linkCount} links instead of ${tree.linkCount}`;
  if (tree.sizeBytes !== twin.sizeBytes) return `has ${twin.sizeBytes} bytes instead of ${tree.sizeBytes}`;
  if (isSymbolicLink(tree)) {
    const same = (await image.linkTarget(tree)).equals(await image.linkTarget(twin));
    return same ? undefined : "has another link target";
  }
  if (tree.layout !== dataLayout.chunkBased) return tree.union === twin.union ? undefined : "has other contents";
  const chunks = Math.ceil(tree.sizeBytes / chunkBytes);
  const [map, other] = [await image.chunkMap(tree, 0, chunks), await image.chunkMap(twin, 0, chunks)];
  return map.equals(other) ? undefined : "has other contents";
}

async function checkMergedTrees(
  disk: DiskReader,
  expected: ExpectedTrees,
  problems: ProblemList,
  options: VerifyOptions,
): Promise<void> {
  let done = 0;
  for (const [path, layers] of expected.merged) {
    const nids: number[] = [];
    for (const layer of layers) nids.push((await disk.lookup(layer)).nid);
    const { nid } = await disk.lookup(path);
    await checkMergedTree(disk.image, placeOf(path), nid, nids, problems, options.signal);
    done++;
    options.onProgress?.({ phase: "merged trees", done, total: expected.merged.size });
  }
}

async function checkLayerImages(
  disk: DiskReader,
  expected: ExpectedTrees,
  trees: readonly string[],
  contents: LayerContents,
  problems: ProblemList,
  options: VerifyOptions,
): Promise<number> {
  const areas = Array.from({ length: disk.files.areaCount }, (_, i) => disk.files.area(i));
  let next = areas.find(({ kind }) => kind === areaKind.layerMetadata)?.firstBlock ?? 0;
  const places = new Uint32Array(disk.files.contentCount);
  const roots = new Map<string, Inode>();
  let done = 0;
  for (const tree of trees) {
    const layer = expected.layers.get(tree);
    const ofTree = contents.ofTree(tree);
    if (layer === undefined || ofTree === undefined) continue;
    const implied = await findImplied(disk, tree, layer.impliedDirectories);
    const { diffIDHex } = layer;
    const lower = layer.inherits ? new LowerLayers(disk, layer, roots) : undefined;
    next = await checkLayerImage(
      disk,
      { diffIDHex, tree, contents: ofTree, implied, lower },
      next,
      places,
      problems,
      options.signal,
    );
    done++;
    options.onProgress?.({ phase: "layer images", done, total: trees.length });
  }
  return done;
}

function placeOf(path: string): Place {
  return path.split("/").reduce((place, name) => placeInside(place, Buffer.from(name)), rootPlace);
}
