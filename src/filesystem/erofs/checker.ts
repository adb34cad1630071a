import { checkInode, type InodeContext } from "./checker/check-inode.ts";
import { checkSuperblock } from "./checker/check-superblock.ts";
import { ClaimedBytes } from "./checker/claimed-bytes.ts";
import { PagedBytes, PagedCounts } from "./checker/paged-array.ts";
import { type Place, placeInside, rootPlace, showPlace } from "./checker/place.ts";
import { type Problem, ProblemList } from "./checker/problem-list.ts";
import type { Profile } from "./checker/profile.ts";
import { direntType } from "./constants.ts";
import { ErofsError } from "./erofs-error.ts";
import type { DirectoryEntry } from "./reader/directory-block.ts";
import type { DirectoryBlock, ErofsImage } from "./reader/erofs-image.ts";
import { direntTypeOfMode, type Inode, isDirectory } from "./reader/inode-parser.ts";
import { isDotEntry } from "./reader/lookup.ts";

/**
 * How a directory stands to the tree around it: part of it; a tree of its own, within which links are counted; or a tree
 * whose entries other than directories all borrow inodes of trees walked before, and are not counted as links.
 */
export type Scope = "same" | "own" | "borrowing";

export type CheckOptions = {
  /** Default `any`. */
  readonly profile?: Profile;
  /** Scope of a directory; default: all one tree. */
  readonly scopeOf?: (place: Place) => Scope;
  /** Called for each inode when a tree that is not borrowing first has it, after its own checks; `tree` is the tree's root. */
  readonly onInode?: (inode: Inode, place: Place, tree: Place) => void | Promise<void>;
  /** Called when a whole tree of scope `own` has been walked. */
  readonly onTreeEnd?: (root: Place) => void | Promise<void>;
  /** Inodes, directories and link targets must end here; default: the end of the image. */
  readonly metadataEndBlock?: number;
  readonly problems?: ProblemList;
  readonly signal?: AbortSignal;
};

export type CheckResult = {
  readonly problems: readonly Problem[];
  /** Distinct inodes that were reached. */
  readonly inodeCount: number;
  /** No directory has two places: whoever walks the image again comes to an end. */
  readonly isTree: boolean;
};

/**
 * Walks all of an image and reports what contradicts the format. Damage never makes it throw; only reading errors of the
 * source and `signal` do. Stops early when the list of problems is full.
 */
export async function checkErofs(image: ErofsImage, options: CheckOptions = {}): Promise<CheckResult> {
  const problems = options.problems ?? new ProblemList();
  await checkSuperblock(image, options.profile ?? "any", problems);
  const check = new Check(image, options, problems);
  await check.run();
  return { problems: problems.problems, inodeCount: check.inodeCount, isTree: check.isTree };
}

type Pending = { readonly nid: number; readonly parentNid: number; readonly place: Place };

/** Added to what is left of an inode's links, so that 0 stays free for "not met in this tree". */
const countBase = 2 ** 31;
const maxLinks = 2 ** 30;

class Check {
  readonly #image: ErofsImage;
  readonly #options: CheckOptions;
  readonly #profile: Profile;
  readonly #problems: ProblemList;
  readonly #claimed = new ClaimedBytes();
  /** By nid: the type that directory entries must carry; 0 while the inode has not been met. */
  readonly #types = new PagedBytes();
  readonly #ownTrees: Pending[] = [];
  readonly #borrowingTrees: Pending[] = [];
  inodeCount = 0;
  isTree = true;
  #tree = rootPlace;
  #lowestNid = Number.POSITIVE_INFINITY;

  constructor(image: ErofsImage, options: CheckOptions, problems: ProblemList) {
    this.#image = image;
    this.#options = options;
    this.#profile = options.profile ?? "any";
    this.#problems = problems;
  }

  async run(): Promise<void> {
    const { rootNid, inodeCount } = this.#image.superblock;
    await this.#walkTree({ nid: rootNid, parentNid: rootNid, place: rootPlace }, "same");
    for (const tree of this.#ownTrees) {
      await this.#walkTree(tree, "own");
      await this.#options.onTreeEnd?.(tree.place);
    }
    for (const tree of this.#borrowingTrees) await this.#walkTree(tree, "borrowing");
    if (this.#problems.isFull) return;
    if (this.inodeCount !== inodeCount && !(this.#profile !== "any" && inodeCount === 0)) {
      this.#problems.add("superblock", `says ${inodeCount} inodes, but the tree has ${this.inodeCount}`);
    }
    if (this.#profile !== "any" && this.#lowestNid !== rootNid) {
      this.#problems.add("superblock", "the root directory is not the first inode of the metadata area");
    }
  }

  async #walkTree(root: Pending, scope: Scope): Promise<void> {
    this.#tree = root.place;
    const links = new PagedCounts();
    const stack: Pending[] = [root];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      this.#options.signal?.throwIfAborted();
      if (this.#problems.isFull) return;
      await this.#guard(next.place, this.#walkDirectory(next, scope, links, stack));
    }
    for (const [nid, count] of links.entries()) {
      if (count !== countBase) {
        this.#problems.add(showPlace(root.place), `inode ${nid} has ${count - countBase} links more than entries`);
      }
    }
  }

  /** Damage that stops the reader is a problem of the place where it was met. */
  async #guard(place: Place, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof ErofsError)) throw error;
      this.#problems.add(showPlace(place), error.message);
    }
  }

  async #walkDirectory(pending: Pending, scope: Scope, links: PagedCounts, stack: Pending[]): Promise<void> {
    const { nid, place } = pending;
    const report = (message: string) => this.#problems.add(showPlace(place), message);
    if (this.#types.get(nid) !== 0) {
      this.isTree = false;
      return report("is a directory that already has another place in the tree");
    }
    const inode = await this.#image.inode(nid);
    if (!isDirectory(inode)) return report("is an entry of type directory, but its inode is none");
    await this.#meet(inode, place, scope);
    const dots = new Set<string>();
    let subdirectories = 0;
    let last: Buffer | undefined;
    for await (const block of this.#image.directoryBlocks(inode)) {
      if (this.#profile !== "any") checkBlockForm(block, report);
      for (const entry of block.entries) {
        if (last !== undefined && Buffer.compare(last, entry.name) >= 0) {
          report(`the name ${JSON.stringify(entry.name.toString())} is out of order or there twice`);
        }
        last = entry.name;
        if (isDotEntry(entry)) {
          dots.add(entry.name.toString());
          const expected = entry.name.length === 1 ? nid : pending.parentNid;
          if (entry.nid !== expected || entry.type !== direntType.directory) {
            report(
              `"${entry.name}" points at inode ${entry.nid} with type ${entry.type}, not at directory ${expected}`,
            );
          }
        } else if (entry.type === direntType.directory) {
          subdirectories++;
          this.#plan({ nid: entry.nid, parentNid: nid, place: placeInside(place, entry.name) }, scope, stack);
        } else {
          const entryPlace = placeInside(place, entry.name);
          await this.#guard(entryPlace, this.#meetEntry(entry, entryPlace, scope, links));
        }
      }
    }
    if (dots.size !== 2) report('lacks "." or ".."');
    if (inode.linkCount !== subdirectories + 2) {
      report(`has ${inode.linkCount} links, but ${subdirectories} directories in it`);
    }
  }

  #plan(directory: Pending, scope: Scope, stack: Pending[]): void {
    const inner = scope === "same" ? (this.#options.scopeOf?.(directory.place) ?? "same") : "same";
    if (inner === "own") this.#ownTrees.push(directory);
    else if (inner === "borrowing") this.#borrowingTrees.push(directory);
    else stack.push(directory);
  }

  /** An entry other than a directory. */
  async #meetEntry(entry: DirectoryEntry, place: Place, scope: Scope, links: PagedCounts): Promise<void> {
    const { nid, type } = entry;
    const report = (message: string) => this.#problems.add(showPlace(place), message);
    const known = this.#types.get(nid);
    if (scope === "borrowing") {
      if (known === 0) return report(`inode ${nid} belongs to no layer tree`);
      if (known !== type) report(`has type ${type}, but its inode has ${known}`);
      return;
    }
    let left = links.get(nid);
    if (left === 0) {
      const inode = await this.#image.inode(nid);
      if (isDirectory(inode)) return report("is an entry of another type, but its inode is a directory");
      if (inode.linkCount > maxLinks) return report(`has ${inode.linkCount} links`);
      left = countBase + inode.linkCount;
      links.set(nid, left - 1);
      if (known === 0) await this.#meet(inode, place, scope);
      else await this.#options.onInode?.(inode, place, this.#tree);
    } else {
      links.set(nid, left - 1);
    }
    const expected = this.#types.get(nid);
    if (expected !== type) report(`has type ${type}, but its inode has ${expected}`);
  }

  /** An inode that no tree has shown before. */
  async #meet(inode: Inode, place: Place, scope: Scope): Promise<void> {
    this.#types.set(inode.nid, direntTypeOfMode(inode.mode));
    this.inodeCount++;
    this.#lowestNid = Math.min(this.#lowestNid, inode.nid);
    const context: InodeContext = {
      profile: this.#profile,
      opaqueAllowed: scope === "own" || this.#profile === "layer-image",
      metadataEndBlock: this.#options.metadataEndBlock ?? this.#image.superblock.blockCount,
    };
    await checkInode(this.#image, inode, context, this.#claimed, (message) =>
      this.#problems.add(showPlace(place), message),
    );
    if (scope !== "borrowing") await this.#options.onInode?.(inode, place, this.#tree);
  }
}

/** Zeros behind the last name; a name follows the other without a gap by the way they are read. */
function checkBlockForm(block: DirectoryBlock, report: (message: string) => void): void {
  const lastName = block.entries[block.entries.length - 1].name;
  const end = lastName.byteOffset - block.bytes.byteOffset + lastName.length;
  if (block.isLast && end !== block.bytes.length) report("has bytes behind its last name");
  const isZero = block.bytes.subarray(end).every((byte) => byte === 0);
  if (!isZero) report("has bytes other than zero behind the names of a block");
}
