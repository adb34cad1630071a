import { access, constants, lstat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ContainerdNode } from "../containerd/containerd-node.ts";
import type { MountTable } from "../host/mount-table.ts";
import { errorCode } from "../host/system-calls.ts";
import { type Finding, failure, ok } from "./finding.ts";

type Node = Pick<ContainerdNode, "snapshotsFolder" | "blobsFolder" | "local"> & {
  readonly mountNamespace: Pick<ContainerdNode["mountNamespace"], "isOwn">;
};

const name = "paths";
const ownFolder = "/run/nodewarm";

/** Whether injection gets at the folders that it changes, and what it makes in them works there. The first problem is the finding. */
export async function checkPaths(node: Node, table: MountTable): Promise<Finding> {
  const snapshotterRoot = dirname(node.snapshotsFolder);
  const contentRoot = dirname(node.blobsFolder);
  return (
    (await checkOwnFolder(node)) ??
    (await checkFolder(node, table, node.snapshotsFolder, "the snapshots")) ??
    (await checkFolder(node, table, node.blobsFolder, "the content store")) ??
    checkOneMount(table, contentRoot) ??
    ok(name, `${ownFolder}, ${snapshotterRoot} and ${contentRoot} can be written`)
  );
}

async function checkOwnFolder(node: Node): Promise<Finding | undefined> {
  const problem = await whyNotWritable(node, ownFolder, "/run");
  if (problem === undefined) return undefined;
  return failure(
    name,
    `${problem}, and disks are mounted below it`,
    "make it writable for root, where containerd sees it",
  );
}

/** containerd makes some of its folders when it first needs them; that of their plugin's folder is always there. */
async function checkFolder(node: Node, table: MountTable, folder: string, what: string): Promise<Finding | undefined> {
  const link = node.mountNamespace.isOwn ? undefined : await firstLink(node, folder);
  if (link !== undefined)
    return failure(
      name,
      `containerd keeps ${what} in ${folder}, and ${link} is a link, which leads elsewhere outside of its mount namespace`,
      "name the folder behind the link in the configuration of containerd (root, root_path), and restart it",
    );
  const entry = table.containing(folder);
  if (entry !== undefined && [...entry.options, ...entry.superOptions].includes("nosymfollow"))
    return failure(
      name,
      `containerd keeps ${what} in ${folder}, on a mount that follows no links (${entry.mountPoint}, nosymfollow)`,
      `mount ${entry.mountPoint} without nosymfollow`,
    );
  const problem = await whyNotWritable(node, folder, dirname(dirname(folder)));
  if (problem === undefined) return undefined;
  return failure(
    name,
    `containerd keeps ${what} in ${folder}, and ${problem}`,
    "make it writable for root; where this program runs in a container, give it the process ids of the host (hostPID) and all privileges",
  );
}

/** `least`: has to be there; of `folder` the deepest that is counts. */
async function whyNotWritable({ local }: Node, folder: string, least: string): Promise<string | undefined> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      await access(local(path), constants.W_OK);
      return undefined;
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT" && path !== least) continue;
      return code === "ENOENT" ? `there is no ${path}` : `${path} cannot be written (${code})`;
    }
  }
}

async function firstLink({ local }: Node, folder: string): Promise<string | undefined> {
  const names = folder.split("/").slice(1);
  for (const [i] of names.entries()) {
    const path = `/${names.slice(0, i + 1).join("/")}`;
    const stats = await lstat(local(path)).catch(() => undefined);
    if (stats?.isSymbolicLink()) return path;
  }
  return undefined;
}

/** Names are linked and renamed inside of it, which no two mounts allow, not even of one file system (link(2), EXDEV). */
function checkOneMount(table: MountTable, root: string): Finding | undefined {
  const [own] = table.below(root);
  return (
    own &&
    failure(
      name,
      `${own.mountPoint} is a mount of its own inside of ${root}, where containerd and Nodewarm move names from one folder to another`,
      `mount ${root} as a whole`,
    )
  );
}
