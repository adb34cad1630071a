import { readdir, readlink, unlink } from "node:fs/promises";
import { type Digest, digestHex, isDigest } from "../../../oci/descriptor.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierName, label } from "../ownership.ts";

/** A file of the content store that is a link to a disk. All namespaces of a containerd share it, whichever injected the disk. */
export type BlobLink = { readonly digest: Digest; readonly disk: string };

/** All of them: the files say what leads to a disk, for records are each namespace's own and may be lost. */
export async function readBlobLinks(node: Pick<ContainerdNode, "blobsFolder" | "local">): Promise<BlobLink[]> {
  const folder = node.local(`${node.blobsFolder}/sha256`);
  const links: BlobLink[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const digest = `sha256:${entry.name}`;
    if (!entry.isSymbolicLink() || !isDigest(digest)) continue;
    const disk = diskOfLink(await readlink(`${folder}/${entry.name}`).catch(() => ""));
    if (disk !== undefined) links.push({ digest, disk });
  }
  return links;
}

export function blobPath(node: Pick<ContainerdNode, "blobsFolder" | "local">, digest: Digest): string {
  return node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`);
}

/** Where the link of a blob leads, and where the blob is found while the disk is mounted. */
export function blobOnDisk(disk: string, digest: Digest): string {
  return `${diskMountPoint(disk)}/blobs/sha256/${digestHex(digest)}`;
}

function diskOfLink(target: string): string | undefined {
  const id = /\/([0-9a-f]{64})\/blobs\/sha256\/[0-9a-f]{64}$/.exec(target)?.[1];
  return id !== undefined && target.startsWith(`${diskMountPoint(id)}/`) ? id : undefined;
}

/**
 * Linked blobs that somebody has whom the ejection from this namespace does not take them from, with a namespace of theirs: records that are
 * not ours, here and elsewhere, and those of namespaces that the disk is not injected into any more, whatever their labels say: nobody
 * would mount it for them after a reboot. Throws `RuntimeError`.
 */
export async function blobsOfOthers(
  node: Pick<ContainerdNode, "client" | "namespace" | "snapshotter">,
  links: readonly BlobLink[],
): Promise<Map<Digest, string>> {
  const found = new Map<Digest, string>();
  if (links.length === 0) return found;
  const diskOf = new Map(links.map(({ digest, disk }) => [digest, disk]));
  for (const { name } of await node.client.namespaces.list()) {
    const isOwn = name === node.namespace;
    const injected = new Map<string, boolean>();
    for await (const { digest, labels } of node.client.withNamespace(name).content.list()) {
      const disk = diskOf.get(digest);
      if (disk === undefined) continue;
      if (labels[label.disk] !== undefined) {
        if (isOwn) continue;
        const isInjected = injected.get(disk) ?? (await hasCarrier(node, name, disk));
        injected.set(disk, isInjected);
        if (isInjected) continue;
      }
      found.set(digest, name);
    }
  }
  return found;
}

/** Snapshotters that a disk may be injected into. */
const snapshotters = ["overlayfs", "erofs"];

async function hasCarrier(
  { client }: Pick<ContainerdNode, "client">,
  namespace: string,
  disk: string,
): Promise<boolean> {
  for (const snapshotter of snapshotters) {
    try {
      await client.withNamespace(namespace).snapshots(snapshotter).stat(carrierName(disk));
      return true;
    } catch (error) {
      // Not every containerd has both snapshotters.
      if (!isRuntimeError(error, "not-found", "invalid-argument")) throw error;
    }
  }
  return false;
}

/**
 * Removes those links that no namespace has a record of: an injection that was killed before it claimed them leaves such, and no collection takes
 * them unless something else changes. Not to be called while another injection of the disk may be under way. Resolves to the links that
 * are left. Throws `RuntimeError`.
 */
export async function removeOrphanLinks(node: ContainerdNode, links: readonly BlobLink[]): Promise<BlobLink[]> {
  if (links.length === 0) return [];
  const recorded = new Set<Digest>();
  for (const { name } of await node.client.namespaces.list())
    for await (const { digest } of node.client.withNamespace(name).content.list()) recorded.add(digest);
  const left: BlobLink[] = [];
  for (const link of links) {
    if (recorded.has(link.digest)) left.push(link);
    else await unlink(blobPath(node, link.digest)).catch(() => {});
  }
  return left;
}
