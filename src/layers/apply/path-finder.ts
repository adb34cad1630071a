import { LayerError, printableName } from "../layer-error.ts";
import { type EntryTable, root } from "./entry-table.ts";
import { type InodeTable, none } from "./inode-table.ts";
import type { LinkResolver } from "./link-resolver.ts";
import { cleanName, climbs, hasDotDot, joinAbsolute } from "./path.ts";

const slash = 0x2f;
const maximumNameBytes = 255;
/** What a path may measure after its links are resolved: Linux PATH_MAX. */
const maximumPathBytes = 4096;

export type FoundParent = { readonly entry: number; readonly throughLinks: boolean };

type AddImplied = (directory: number, path: Uint8Array, start: number, end: number) => number;

/** Finds the directories of entries and the targets of hard links; remembers the last directory, which the next entry often shares. */
export class PathFinder {
  readonly #entries: EntryTable;
  readonly #inodes: InodeTable;
  readonly #links: LinkResolver;
  readonly #addImplied: AddImplied;
  #lastPath: Buffer = Buffer.alloc(0);
  #lastParent: FoundParent | undefined;

  constructor(entries: EntryTable, inodes: InodeTable, links: LinkResolver, addImplied: AddImplied) {
    this.#entries = entries;
    this.#inodes = inodes;
    this.#links = links;
    this.#addImplied = addImplied;
  }

  /** Must be called when a directory was removed or a link made: paths may lead elsewhere now. */
  forget(): void {
    this.#lastParent = undefined;
  }

  /** The directory of a clean path; made, with those above it, where it is missing. Throws `LayerError` where it is no directory. */
  parentOf(path: Uint8Array): FoundParent {
    const end = path.lastIndexOf(slash);
    if (end < 0) return { entry: root, throughLinks: false };
    if (this.#lastParent !== undefined && isStart(this.#lastPath, path, end)) return this.#lastParent;
    const directory = path.subarray(0, end);
    const straight = this.#walk(directory, true);
    const found =
      straight === undefined
        ? { entry: this.#walkResolved(directory), throughLinks: true }
        : { entry: straight, throughLinks: false };
    this.#lastPath = Buffer.from(directory);
    this.#lastParent = found;
    return found;
  }

  /**
   * The entry that a hard link's target names, or `none`. The last name is not followed if it is a symbolic link.
   * Throws `LayerError` when the target climbs above the root or a file stands where a directory must.
   */
  hardLinkTarget(target: Uint8Array): number {
    const clean = cleanName(target);
    if (clean === climbs) throw new LayerError("refused-entry", "its hard link target leads out of the root");
    const last = target.at(-1);
    if (last !== slash && last !== 0x2e && !hasDotDot(target)) {
      const end = clean.lastIndexOf(slash);
      const directory = end < 0 ? root : this.#walk(clean.subarray(0, end), false);
      if (directory === none) return none;
      if (directory !== undefined) return this.#entries.find(directory, clean, end + 1, clean.length);
    }
    const text = Buffer.from(target).toString("latin1");
    const at = text.lastIndexOf("/") + 1;
    return this.#links.find(joinAbsolute(this.#links.resolve(text.slice(0, at)), text.slice(at)));
  }

  #walkResolved(directory: Uint8Array): number {
    const resolved = Buffer.from(this.#links.resolve(`${Buffer.from(directory).toString("latin1")}/`), "latin1");
    if (resolved.length > maximumPathBytes)
      throw new LayerError("refused-entry", `its path, links resolved, exceeds ${maximumPathBytes} bytes`);
    const entry = resolved.length === 1 ? root : this.#walk(resolved.subarray(1), true);
    if (entry === undefined) throw new Error("a resolved path has a symbolic link");
    return entry;
  }

  /** The directory at a clean path; `undefined` when a link is on the way. Missing ones are made, or give `none`. */
  #walk(path: Uint8Array, make: boolean): number | undefined {
    let at = root;
    let start = 0;
    while (start < path.length) {
      let end = path.indexOf(slash, start);
      if (end < 0) end = path.length;
      if (end - start > maximumNameBytes)
        throw new LayerError("refused-entry", `a name in its path exceeds ${maximumNameBytes} bytes`);
      let entry = this.#entries.find(at, path, start, end);
      if (entry === none) {
        if (!make) return none;
        entry = this.#addImplied(at, path, start, end);
      } else {
        const inode = this.#entries.inode(entry);
        if (this.#inodes.isSymbolicLink(inode)) return undefined;
        if (!this.#inodes.isDirectory(inode))
          throw new LayerError("refused-entry", `${printableName(path.subarray(0, end))} is not a directory`);
      }
      at = entry;
      start = end + 1;
    }
    return at;
  }
}

/** Whether the first `length` bytes of `path` are `start`. */
function isStart(start: Uint8Array, path: Uint8Array, length: number): boolean {
  if (start.length !== length) return false;
  for (let i = length - 1; i >= 0; i--) if (start[i] !== path[i]) return false;
  return true;
}
