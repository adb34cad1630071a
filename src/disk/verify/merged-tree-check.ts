import { type Place, placeInside, showPlace } from "../../filesystem/erofs/checker/place.ts";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { direntType } from "../../filesystem/erofs/constants.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import type { DirectoryEntry } from "../../filesystem/erofs/reader/directory-block.ts";
import { DirectoryCursor } from "../../filesystem/erofs/reader/directory-cursor.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { isWhiteoutInode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { differenceOf, hidesLower, withoutOverlayXattrs } from "./inode-attributes.ts";

type Pending = {
  readonly place: Place;
  readonly mergedNid: number;
  /** The directories of the layers that overlayfs merges here, topmost first. */
  readonly lowerNids: readonly number[];
};

/**
 * Compares a merged tree with what overlayfs shows of the layer trees below it, a directory at a time: names, attributes
 * of directories, and that every other entry is the layer's own inode.
 */
export async function checkMergedTree(
  image: ErofsImage,
  place: Place,
  mergedNid: number,
  /** Roots of the layer trees, topmost first. */
  layerNids: readonly number[],
  problems: ProblemList,
  signal?: AbortSignal,
): Promise<void> {
  const stack: Pending[] = [{ place, mergedNid, lowerNids: layerNids }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    signal?.throwIfAborted();
    if (problems.isFull) return;
    try {
      await compareDirectory(image, next, stack, problems);
    } catch (error) {
      if (!(error instanceof ErofsError)) throw error;
      problems.add(showPlace(next.place), error.message);
    }
  }
}

async function compareDirectory(
  image: ErofsImage,
  pending: Pending,
  stack: Pending[],
  problems: ProblemList,
): Promise<void> {
  const { place, lowerNids } = pending;
  const merged = await image.inode(pending.mergedNid);
  const lowers = await Promise.all(lowerNids.map((nid) => image.inode(nid)));
  const expectedXattrs = withoutOverlayXattrs(await image.xattrs(lowers[0]));
  const difference = differenceOf(merged, await image.xattrs(merged), lowers[0], expectedXattrs);
  if (difference !== undefined) problems.add(showPlace(place), difference);

  const cursor = await DirectoryCursor.open(image, merged);
  const lowerCursors = await Promise.all(lowers.map((lower) => DirectoryCursor.open(image, lower)));
  const same: DirectoryCursor[] = [];
  while (gatherLowest(lowerCursors, same)) {
    const entries = same.flatMap(({ current }) => (current === undefined ? [] : [current]));
    const [top] = entries;
    if (!(await isHidden(image, top))) {
      await skipExtra(cursor, top.name, place, problems);
      if (cursor.current === undefined || !cursor.current.name.equals(top.name)) {
        problems.add(showPlace(placeInside(place, top.name)), "is missing, but a layer has it");
      } else {
        await compareEntry(image, place, cursor.current, entries, stack, problems);
        if (!cursor.step()) await cursor.nextBlock();
      }
    }
    for (const each of same) if (!each.step()) await each.nextBlock();
    if (problems.isFull) return;
  }
  await skipExtra(cursor, undefined, place, problems);
}

/** Puts the cursors that stand at the lowest name into `same`, in their order; false when all are at their end. */
function gatherLowest(cursors: readonly DirectoryCursor[], same: DirectoryCursor[]): boolean {
  same.length = 0;
  let lowest: Buffer | undefined;
  for (const cursor of cursors) {
    if (cursor.current === undefined) continue;
    const order = lowest === undefined ? -1 : Buffer.compare(cursor.current.name, lowest);
    if (order < 0) {
      same.length = 0;
      lowest = cursor.current.name;
    }
    if (order <= 0) same.push(cursor);
  }
  return lowest !== undefined;
}

async function skipExtra(
  cursor: DirectoryCursor,
  until: Buffer | undefined,
  place: Place,
  problems: ProblemList,
): Promise<void> {
  while (cursor.current !== undefined && (until === undefined || Buffer.compare(cursor.current.name, until) < 0)) {
    problems.add(showPlace(placeInside(place, cursor.current.name)), "is in no layer, or a layer deletes it");
    if (problems.isFull) return;
    await cursor.advance();
  }
}

/** `entries` are those of the layers with this name, topmost first. */
async function compareEntry(
  image: ErofsImage,
  place: Place,
  merged: DirectoryEntry,
  entries: readonly DirectoryEntry[],
  stack: Pending[],
  problems: ProblemList,
): Promise<void> {
  const [top] = entries;
  if (top.type !== merged.type) {
    problems.add(showPlace(placeInside(place, top.name)), "has another type than in its layer");
  } else if (top.type !== direntType.directory) {
    if (top.nid !== merged.nid) {
      problems.add(
        showPlace(placeInside(place, top.name)),
        `is inode ${merged.nid}, but that of its layer is ${top.nid}`,
      );
    }
  } else {
    const end = entries.findIndex(({ type }) => type !== direntType.directory);
    const directories = entries.slice(0, end === -1 ? entries.length : end).map(({ nid }) => nid);
    const lowerNids = await visibleLowers(image, directories);
    stack.push({ place: placeInside(place, top.name), mergedNid: merged.nid, lowerNids });
  }
}

/** Of directories of the same name, topmost first, those that are not below an opaque one. */
async function visibleLowers(image: ErofsImage, nids: readonly number[]): Promise<readonly number[]> {
  for (let i = 0; i < nids.length - 1; i++) {
    if (hidesLower(await image.xattrs(await image.inode(nids[i])))) return nids.slice(0, i + 1);
  }
  return nids;
}

async function isHidden(image: ErofsImage, entry: DirectoryEntry): Promise<boolean> {
  return entry.type === direntType.characterDevice && isWhiteoutInode(await image.inode(entry.nid));
}
