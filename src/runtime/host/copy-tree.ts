import type { BigIntStats } from "node:fs";
import {
  chmod,
  copyFile,
  type FileHandle,
  lchown,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  symlink,
} from "node:fs/promises";
import { sideBySide } from "../side-by-side.ts";
import { copyXattrs, dataRanges, makeNode, setTimes } from "./inode-calls.ts";

/** What a tree takes on the file system that it is copied to; hard links counted once, holes not at all. */
export type TreeSize = { readonly bytes: number; readonly inodes: number };

const blockBytes = 4096;
const pieceBytes = 1 << 20;
const permissionBits = 0o7777n;

/** What a copy of a tree, or of a single file, takes. Throws what `node:fs` gives. */
export async function measureTree(root: string, signal: AbortSignal): Promise<TreeSize> {
  const seen = new Set<bigint>();
  let bytes = 0;
  const measure = async (path: Buffer): Promise<void> => {
    const stats = await lstat(path, { bigint: true });
    if (seen.has(stats.ino)) return;
    seen.add(stats.ino);
    const dataBytes = stats.isFile() ? await countData(path, Number(stats.size)) : Number(stats.size);
    bytes += Math.ceil(dataBytes / blockBytes) * blockBytes;
  };
  const path = Buffer.from(root);
  if ((await lstat(root)).isDirectory())
    await forEachPath(path, signal, { folder: measure, other: measure, afterFolder: async () => {} });
  else await measure(path);
  return { bytes, inodes: seen.size };
}

/**
 * Copies a tree with all that belongs to it: owners, modes, times, extended attributes of every kind (overlayfs keeps its marks in
 * `trusted`, capabilities are in `security`), hard links, devices (0/0 are whiteouts), holes. `to` must not exist. Not durable until the
 * file system is synced. Throws what `node:fs` gives, `SystemCallError`, or the reason of the signal; what was copied stays then.
 */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<void> {
  const prefixBytes = Buffer.byteLength(from);
  const target = (path: Buffer): Buffer => Buffer.concat([Buffer.from(to), path.subarray(prefixBytes)]);
  /** First path of each inode with several names, once it is complete. */
  const copied = new Map<bigint, Promise<Buffer>>();
  const copyOnce = async (path: Buffer, stats: BigIntStats): Promise<Buffer> => {
    const copy = target(path);
    await copyLeaf(path, copy, stats);
    return copy;
  };
  await forEachPath(Buffer.from(from), signal, {
    folder: (path) => mkdir(target(path), { mode: 0o700 }),
    async other(path) {
      const stats = await lstat(path, { bigint: true });
      if (stats.nlink === 1n) return copyOnce(path, stats);
      const first = copied.get(stats.ino);
      if (first !== undefined) return link(await first, target(path));
      const copy = copyOnce(path, stats);
      copied.set(stats.ino, copy);
      return copy;
    },
    // What is made in a folder changes its times.
    async afterFolder(path) {
      await copyAttributes(path, target(path), await lstat(path, { bigint: true }));
    },
  });
}

type Visitor = {
  folder(path: Buffer): Promise<unknown>;
  other(path: Buffer): Promise<unknown>;
  afterFolder(path: Buffer): Promise<unknown>;
};

/** Visits a folder before, and again after, what is in it. */
async function forEachPath(folder: Buffer, signal: AbortSignal, visitor: Visitor): Promise<void> {
  signal.throwIfAborted();
  await visitor.folder(folder);
  const entries = await readdir(folder, { withFileTypes: true, encoding: "buffer" });
  const path = (name: Buffer): Buffer => Buffer.concat([folder, Buffer.from("/"), name]);
  const others = entries.filter((entry) => !entry.isDirectory());
  await sideBySide(others, ({ name }) => visitor.other(path(name)));
  for (const entry of entries) if (entry.isDirectory()) await forEachPath(path(entry.name), signal, visitor);
  await visitor.afterFolder(folder);
}

async function copyLeaf(from: Buffer, to: Buffer, stats: BigIntStats): Promise<void> {
  if (stats.isFile()) await copyData(from, to, Number(stats.size));
  else if (stats.isSymbolicLink()) await symlink(await readlink(from, { encoding: "buffer" }), to);
  else await makeNode(to, stats);
  await copyAttributes(from, to, stats);
}

/** In this order: a new owner takes set-user-id bits and capabilities away, and all of it changes times. */
async function copyAttributes(from: Buffer, to: Buffer, stats: BigIntStats): Promise<void> {
  await lchown(to, Number(stats.uid), Number(stats.gid));
  if (!stats.isSymbolicLink()) await chmod(to, Number(stats.mode & permissionBits));
  await copyXattrs(from, to);
  await setTimes(to, stats);
}

async function countData(path: Buffer, sizeBytes: number): Promise<number> {
  if (sizeBytes <= pieceBytes) return sizeBytes;
  await using file = await open(path, "r");
  let bytes = 0;
  for await (const { start, end } of dataRanges(file.fd, sizeBytes)) bytes += end - start;
  return bytes;
}

async function copyData(from: Buffer, to: Buffer, sizeBytes: number): Promise<void> {
  if (sizeBytes <= pieceBytes) return copyFile(from, to);
  await using source = await open(from, "r");
  const ranges = await Array.fromAsync(dataRanges(source.fd, sizeBytes));
  if (ranges.length === 1 && ranges[0]?.start === 0 && ranges[0].end === sizeBytes) return copyFile(from, to);
  await using target = await open(to, "wx", 0o600);
  await target.truncate(sizeBytes);
  for (const { start, end } of ranges) await copyRange(source, target, start, end);
}

async function copyRange(source: FileHandle, target: FileHandle, start: number, end: number): Promise<void> {
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let position = start; position < end; ) {
    const { bytesRead } = await source.read(piece, 0, Math.min(pieceBytes, end - position), position);
    if (bytesRead === 0) throw new Error(`a file became shorter while it was copied, at byte ${position}`);
    await target.write(piece, 0, bytesRead, position);
    position += bytesRead;
  }
}
