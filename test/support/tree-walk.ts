import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { readXattrs } from "./xattrs.ts";

/** One path of a tree with all that is compared but its content. */
export type TreeEntry = {
  /** Relative to the root, each byte one character (Latin-1); the root is the empty string. */
  readonly path: string;
  readonly absolute: Buffer;
  readonly stats: BigIntStats;
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Of a symbolic link, Latin-1. */
  readonly target: string | undefined;
};

/**
 * Every path of the tree, in the order of their bytes within each folder. Other file systems mounted below are entered.
 * Names that are listed but not there are left out: overlayfs lists whiteouts of a folder that only one layer has.
 */
export function* walkTree(root: string): Generator<TreeEntry> {
  lstatSync(root);
  yield* walk(Buffer.from(root), "");
}

export const isWhiteout = ({ stats }: TreeEntry): boolean => stats.isCharacterDevice() && stats.rdev === 0n;

function* walk(absolute: Buffer, path: string): Generator<TreeEntry> {
  const stats = lstatSync(absolute, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return;
  const target = stats.isSymbolicLink() ? readlinkSync(absolute, { encoding: "buffer" }).toString("latin1") : undefined;
  yield { path, absolute, stats, xattrs: readXattrs(absolute), target };
  if (!stats.isDirectory()) return;
  const names = readdirSync(absolute, { encoding: "buffer" }).sort(Buffer.compare);
  for (const name of names) {
    const text = name.toString("latin1");
    yield* walk(Buffer.concat([absolute, Buffer.from("/"), name]), path === "" ? text : `${path}/${text}`);
  }
}
