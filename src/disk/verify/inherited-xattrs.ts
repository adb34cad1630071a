import { direntType } from "../../filesystem/erofs/constants.ts";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { directoryEntries } from "../../filesystem/erofs/reader/lookup.ts";
import type { Xattr } from "../../layers/layer-tree.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import { directoryBelow, isAcl, lowerRoots } from "./implied-directories.ts";
import type { ExpectedLayer } from "./index-check.ts";
import { sameXattrs, withoutOverlayXattrs } from "./inode-attributes.ts";

const otherXattrs = "has other xattrs";

/** A directory of a tree, and where its xattrs may come from besides its own layer. */
type InheritingDirectory = {
  readonly xattrs: readonly Xattr[];
  /** `undefined` where the tree takes nothing from elsewhere. */
  readonly lower: LowerLayers | undefined;
};

/** The layers below one, of which its tree may have taken xattrs. */
export class LowerLayers {
  readonly #disk: DiskReader;
  readonly #layer: Pick<ExpectedLayer, "stack" | "height">;
  readonly #roots: Map<string, Inode>;

  /** `roots`: those of layer trees that were looked up before, by path. */
  constructor(disk: DiskReader, layer: Pick<ExpectedLayer, "stack" | "height">, roots: Map<string, Inode>) {
    this.#disk = disk;
    this.#layer = layer;
    this.#roots = roots;
  }

  /** What a directory at that place has from below if the tar has implied it before its own entry came. */
  async xattrsAt(names: readonly Buffer[]): Promise<readonly Xattr[]> {
    const model = await directoryBelow(this.#disk, names, await this.#below());
    return model === undefined ? [] : withoutOverlayXattrs(await this.#disk.image.xattrs(model));
  }

  /** Whether a directory below has an ACL: what is made in it inherits that, and the tree does not say where. */
  async haveAcls(signal: AbortSignal | undefined): Promise<boolean> {
    for (const root of await this.#below()) {
      const known = rootsWithAcls.get(root) ?? (await hasAcls(this.#disk, root, signal));
      rootsWithAcls.set(root, known);
      if (known) return true;
    }
    return false;
  }

  #below(): Promise<readonly Inode[]> {
    return lowerRoots(this.#disk, this.#layer, this.#roots);
  }
}

/** Many trees have the same layers below, whose roots are looked up once. */
const rootsWithAcls = new WeakMap<Inode, boolean>();

/** Whether a directory of a tree has an ACL. Throws `ErofsError` where it cannot be read, and the reason of `signal`. */
export async function hasAcls({ image }: DiskReader, root: Inode, signal: AbortSignal | undefined): Promise<boolean> {
  const stack = [root];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    signal?.throwIfAborted();
    if ((await image.xattrs(next)).some(({ name }) => isAcl(name))) return true;
    for await (const { type, nid } of directoryEntries(image, next))
      if (type === direntType.directory) stack.push(await image.inode(nid));
  }
  return false;
}

/**
 * What two trees of one layer contradict each other in, of the xattrs of entries that are no directories: those inherit ACLs and
 * nothing else. `areAclsSame`: nothing below has any.
 */
export function otherXattrDifference(
  a: readonly Xattr[],
  b: readonly Xattr[],
  areAclsSame: boolean,
): string | undefined {
  return sameXattrs(compared(a, areAclsSame), compared(b, areAclsSame)) ? undefined : otherXattrs;
}

/** The same of directories, which may also have kept what the layers below give their place. `names`: from the last to the first. */
export async function directoryXattrDifference(
  a: InheritingDirectory,
  b: InheritingDirectory,
  names: () => readonly Buffer[],
  areAclsSame: boolean,
): Promise<string | undefined> {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const alone = compared(one.xattrs, areAclsSame).filter(notAmong(other.xattrs));
    if (alone.length === 0) continue;
    const kept = (await one.lower?.xattrsAt(names())) ?? [];
    if (alone.some(notAmong(kept))) return otherXattrs;
  }
  return undefined;
}

function compared(xattrs: readonly Xattr[], areAclsSame: boolean): readonly Xattr[] {
  return areAclsSame ? xattrs : xattrs.filter(({ name }) => !isAcl(name));
}

function notAmong(others: readonly Xattr[]): (xattr: Xattr) => boolean {
  return (xattr) => !others.some((other) => sameXattrs([other], [xattr]));
}
