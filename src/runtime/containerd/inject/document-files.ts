import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { renameToNew } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { ImageDocument } from "./disk-documents.ts";
import type { JobPlace } from "./job.ts";

/**
 * Puts documents into the content store as files, to be claimed; the digests of those that were put. containerd would sync each one three
 * times while it writes it, here all share two syncs: the time to usable images halves. A name that means a digest appears only once its
 * bytes are durable, and nothing is put where containerd would not share it between namespaces.
 */
export async function placeDocuments(job: JobPlace, documents: readonly ImageDocument[]): Promise<ReadonlySet<Digest>> {
  const { node } = job;
  if (node.sharingPolicy === "isolated") return new Set();
  const folder = node.local(`${node.blobsFolder}/sha256`);
  // Beside the folder of blobs, where containerd does not look.
  const root = dirname(node.local(node.blobsFolder));
  const prefix = `.nodewarm-${node.namespace}-`;
  const waiting = new Map<Digest, string>();
  const placed = new Set<Digest>();
  try {
    await mkdir(folder, { recursive: true });
    await removeLeft(root, prefix);
    const distinct = [...new Map(documents.map((document) => [document.digest, document])).values()];
    await sideBySide(distinct, async ({ digest, bytes }) => {
      // Told of all: which files are there depends on other namespaces.
      job.atStep("write document");
      if (await isThere(`${folder}/${digestHex(digest)}`)) return;
      const beside = `${root}/${prefix}${randomUUID()}`;
      waiting.set(digest, beside);
      await writeFile(beside, bytes, { mode: 0o444, flag: "wx" });
    });
    if (waiting.size > 0) await syncFilesystem(root);
    await sideBySide(distinct, async ({ digest }) => {
      job.atStep("place document");
      const beside = waiting.get(digest);
      if (beside === undefined) return;
      if (!(await renameToNew(beside, `${folder}/${digestHex(digest)}`))) return;
      waiting.delete(digest);
      placed.add(digest);
    });
    if (placed.size > 0) await syncFilesystem(root);
    return placed;
  } finally {
    await sideBySide([...waiting.values()], (beside) => rm(beside, { force: true }));
  }
}

/** What a call that was killed left: under the lock nobody else of this namespace is at work. */
async function removeLeft(root: string, prefix: string): Promise<void> {
  const left = (await readdir(root)).filter((name) => name.startsWith(prefix));
  await sideBySide(left, (name) => rm(`${root}/${name}`, { force: true }));
}

/** Whether a document has a file in the content store: a collection takes those that are not claimed yet. */
export async function isPlaced({ node }: JobPlace, digest: Digest): Promise<boolean> {
  return isThere(node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`));
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
