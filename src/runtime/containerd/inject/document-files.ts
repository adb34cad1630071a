import { randomUUID } from "node:crypto";
import { link, lstat, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { ImageDocument } from "./disk-documents.ts";
import type { InjectJob } from "./job.ts";
import { sideBySide } from "./side-by-side.ts";

type Waiting = { readonly digest: Digest; readonly beside: string };

/**
 * Puts documents into the content store as files, to be claimed; the digests of those that were put. containerd would sync each one three
 * times while it writes it, here all share two syncs: the time to usable images halves. A name that means a digest appears only once its
 * bytes are durable, and nothing is put where containerd would not share it between namespaces.
 */
export async function placeDocuments(
  job: InjectJob,
  documents: readonly ImageDocument[],
): Promise<ReadonlySet<Digest>> {
  const { node } = job;
  if (node.sharingPolicy === "isolated") return new Set();
  const folder = node.local(`${node.blobsFolder}/sha256`);
  // Beside the folder of blobs, where containerd does not look.
  const root = dirname(node.local(node.blobsFolder));
  const waiting: Waiting[] = [];
  const placed = new Set<Digest>();
  try {
    await mkdir(folder, { recursive: true });
    const distinct = [...new Map(documents.map((document) => [document.digest, document])).values()];
    await sideBySide(distinct, async ({ digest, bytes }) => {
      if (await isThere(`${folder}/${digestHex(digest)}`)) return;
      job.atStep("write document");
      const beside = `${root}/.nodewarm-${randomUUID()}`;
      waiting.push({ digest, beside });
      await writeFile(beside, bytes, { mode: 0o444, flag: "wx" });
    });
    if (waiting.length === 0) return placed;
    await syncFilesystem(root);
    await sideBySide(waiting, async ({ digest, beside }) => {
      job.atStep("place document");
      try {
        await link(beside, `${folder}/${digestHex(digest)}`);
        placed.add(digest);
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error;
      }
    });
    await syncFilesystem(root);
    return placed;
  } finally {
    await sideBySide(waiting, ({ beside }) => rm(beside, { force: true }));
  }
}

/** Whether a document has a file in the content store: a collection takes those that are not claimed yet. */
export async function isPlaced({ node }: InjectJob, digest: Digest): Promise<boolean> {
  return isThere(node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`));
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
