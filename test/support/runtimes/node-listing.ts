import { lstat, readdir, readlink } from "node:fs/promises";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { collectGarbage } from "./injection-node.ts";

/** All that one namespace of containerd has, and the files that belong to it, each list in order; without times. */
export type NodeListing = {
  /** `name -> target`, with labels. */
  readonly images: readonly string[];
  readonly leases: readonly string[];
  readonly content: readonly string[];
  /** Name, kind, parent and labels. */
  readonly snapshots: readonly string[];
  /** Paths `snapshots/<number>/…`, down to what `fs` is: a folder, or where it leads. */
  readonly snapshotPaths: readonly string[];
  readonly blobPaths: readonly string[];
  /** Mount points on snapshots. */
  readonly mounts: readonly string[];
};

/** Two listings of one node are equal when nothing was changed, or all of it was undone. */
export async function listNode(node: ContainerdNode): Promise<NodeListing> {
  await collectGarbage(node);
  const [images, leases, content, snapshots, snapshotPaths, blobPaths, table] = await Promise.all([
    node.in.images.list(),
    node.in.leases.list(),
    Array.fromAsync(node.in.content.list()),
    Array.fromAsync(node.snapshots.list()),
    pathsBelow(node.local(node.snapshotsFolder), 2),
    pathsBelow(node.local(node.blobsFolder), 2),
    node.mounts.table(),
  ]);
  return {
    images: images.map(({ name, target, labels }) => `${name} -> ${target.digest} ${show(labels)}`).sort(),
    leases: leases.map(({ id, labels }) => `${id} ${show(labels)}`).sort(),
    content: content.map(({ digest, sizeBytes, labels }) => `${digest} ${sizeBytes} ${show(labels)}`).sort(),
    snapshots: snapshots
      .map(({ name, kind, parent, labels }) => `${name} ${kind} on ${parent || "nothing"} ${show(labels)}`)
      .sort(),
    snapshotPaths,
    blobPaths,
    mounts: table
      .below(node.snapshotsFolder)
      .map(({ mountPoint }) => mountPoint)
      .sort(),
  };
}

/** `depth`: how many levels of folders are entered. */
async function pathsBelow(root: string, depth: number, prefix = ""): Promise<string[]> {
  const paths: string[] = [];
  for (const name of (await readdir(root)).sort()) {
    const path = `${root}/${name}`;
    const stats = await lstat(path);
    const shown = `${prefix}${name}`;
    if (stats.isSymbolicLink()) paths.push(`${shown} -> ${await readlink(path)}`);
    else if (!stats.isDirectory()) paths.push(shown);
    else paths.push(`${shown}/`, ...(depth > 1 ? await pathsBelow(path, depth - 1, `${shown}/`) : []));
  }
  return paths;
}

function show(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))));
}
