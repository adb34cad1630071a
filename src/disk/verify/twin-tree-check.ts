import { type Place, placeInside, showPlace } from "../../filesystem/erofs/checker/place.ts";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { direntType } from "../../filesystem/erofs/constants.ts";
import { DirectoryCursor } from "../../filesystem/erofs/reader/directory-cursor.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { isDamage } from "./guard.ts";

export type TwinRules = {
  /** Compares two directories; returns what is wrong. */
  readonly directory: (tree: Inode, twin: Inode, place: Place) => Promise<string | undefined>;
  /** Compares the inodes of two entries that are no directories; returns what is wrong. */
  readonly other: (treeNid: number, twinNid: number) => Promise<string | undefined>;
};

/** A tree and the directory of an image at which it begins. */
export type TreeRoot = { readonly image: ErofsImage; readonly nid: number };

/** Walks two trees that must have the same names and types, and compares their inodes by `rules`. */
export async function checkTwins(
  tree: TreeRoot,
  twin: TreeRoot,
  place: Place,
  rules: TwinRules,
  problems: ProblemList,
  signal?: AbortSignal,
): Promise<void> {
  const stack: { place: Place; treeNid: number; twinNid: number }[] = [{ place, treeNid: tree.nid, twinNid: twin.nid }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    signal?.throwIfAborted();
    if (problems.isFull) return;
    const at = next;
    const report = (message: string) => problems.add(showPlace(at.place), message);
    try {
      const a = await tree.image.inode(at.treeNid);
      const b = await twin.image.inode(at.twinNid);
      const wrong = await rules.directory(a, b, at.place);
      if (wrong !== undefined) report(wrong);
      const left = await DirectoryCursor.open(tree.image, a);
      const right = await DirectoryCursor.open(twin.image, b);
      while (left.current !== undefined && right.current !== undefined) {
        const { name, type, nid } = left.current;
        if (!name.equals(right.current.name) || type !== right.current.type) break;
        const inner = placeInside(at.place, name);
        if (type === direntType.directory) {
          stack.push({ place: inner, treeNid: nid, twinNid: right.current.nid });
        } else {
          const difference = await rules.other(nid, right.current.nid);
          if (difference !== undefined) problems.add(showPlace(inner), difference);
        }
        if (!left.step()) await left.nextBlock();
        if (!right.step()) await right.nextBlock();
      }
      const [expected, found] = [left, right].map(({ current }) => current?.name.toString() ?? "nothing");
      if (left.current !== undefined || right.current !== undefined) {
        report(`the trees differ where one has ${JSON.stringify(expected)} and the other ${JSON.stringify(found)}`);
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      report(error.message);
    }
  }
}
