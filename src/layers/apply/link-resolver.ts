import { LayerError } from "../layer-error.ts";
import { type EntryTable, root } from "./entry-table.ts";
import { type InodeTable, none } from "./inode-table.ts";
import { joinAbsolute, joinCleaned } from "./path.ts";

/** Links that one path may lead through (containerd's continuity `fs.RootPath`) and that Linux follows in one lookup. */
const linksPerPath = 255;
const linksPerLookup = 40;
/** Names looked up while following links, for one layer: about ten seconds. */
const lookupBudget = 50_000_000;
const maximumNameBytes = 255;

/**
 * Resolves paths through the symbolic links of the tree, never leaving its root, with the very steps of containerd: links are replaced
 * from the left, relative targets are joined lexically, and the whole starts again until no link is left.
 */
export class LinkResolver {
  readonly #entries: EntryTable;
  readonly #inodes: InodeTable;
  #lookups = 0;

  constructor(entries: EntryTable, inodes: InodeTable) {
    this.#entries = entries;
    this.#inodes = inodes;
  }

  /**
   * The absolute path, free of links, that `path` (latin1) stands for. Names that do not exist stay as they are.
   * Throws `LayerError` when there are too many links or a file stands where a directory must.
   */
  resolve(path: string): string {
    if (path === "") return "/";
    const walk = { links: 0 };
    let current = path;
    for (;;) {
      const before = walk.links;
      current = this.#walk(current, walk);
      if (walk.links !== before) continue;
      const absolute = joinAbsolute(current);
      if (current === absolute) return current;
      current = absolute;
    }
  }

  /** One pass over all components: `done` is the path so far, where a link's target is put in unresolved. */
  #walk(path: string, walk: { links: number }): string {
    let trimmed = path;
    while (trimmed.length > 1 && trimmed.endsWith("/")) trimmed = trimmed.slice(0, -1);
    if (trimmed === "/" || trimmed === "") return "/";
    const absolute = trimmed.startsWith("/");
    let done = absolute ? "/" : "";
    for (const part of trimmed.split("/")) {
      if (part === "") continue;
      const at = joinAbsolute(done, part);
      const target = this.#linkTarget(at, walk);
      if (target === undefined) done = at;
      else if (target.startsWith("/") || done === "") done = target;
      else done = joinCleaned(done, target);
    }
    return done;
  }

  #linkTarget(path: string, walk: { links: number }): string | undefined {
    if (walk.links > linksPerPath) throw new LayerError("refused-entry", "its path leads through too many links");
    if (path === "/") return undefined;
    const entry = this.find(path);
    if (entry === none) return undefined;
    const inode = this.#entries.inode(entry);
    if (!this.#inodes.isSymbolicLink(inode)) return undefined;
    walk.links++;
    return Buffer.from(this.#inodes.target(inode)).toString("latin1");
  }

  /**
   * The entry at an absolute path as `lstat` finds it, following links in the directories on the way, or `none`.
   * What a link reaches outside of the root counts as absent. Throws `LayerError` where `lstat` fails otherwise.
   */
  find(path: string): number {
    let pending = path.split("/").reverse();
    let links = 0;
    let at = root;
    while (pending.length > 0) {
      const part = pending.pop() as string;
      if (part === "" || part === ".") continue;
      if (++this.#lookups > lookupBudget)
        throw new LayerError("refused-entry", "the layer leads through symbolic links too often");
      if (!this.#inodes.isDirectory(this.#entries.inode(at)))
        throw new LayerError("refused-entry", "a part of its path is not a directory");
      if (part === "..") {
        if (at === root) return none;
        at = this.#entries.parent(at);
        continue;
      }
      const name = Buffer.from(part, "latin1");
      if (name.length > maximumNameBytes)
        throw new LayerError("refused-entry", `a name in its path exceeds ${maximumNameBytes} bytes`);
      const entry = this.#entries.find(at, name, 0, name.length);
      if (entry === none) return none;
      const inode = this.#entries.inode(entry);
      if (pending.length > 0 && this.#inodes.isSymbolicLink(inode)) {
        if (++links > linksPerLookup) throw new LayerError("refused-entry", "its path leads through too many links");
        const target = Buffer.from(this.#inodes.target(inode)).toString("latin1");
        if (target.startsWith("/")) return none;
        pending = [...pending, ...target.split("/").reverse()];
        continue;
      }
      at = entry;
    }
    return at;
  }
}
