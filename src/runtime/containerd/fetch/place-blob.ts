import { link, lstat, stat, unlink } from "node:fs/promises";
import { type Descriptor, digestHex } from "../../../oci/descriptor.ts";
import { syncDirectory } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { NewBlob } from "../client/content-writer.ts";
import type { FetchJob } from "./fetch-job.ts";
import { sourceLabels } from "./source-labels.ts";
import type { SpoolBlob } from "./spool-blob.ts";

/** A collection may take the link before it is claimed. */
const attempts = 5;

/** containerd takes messages of 16 MiB. */
const pieceBytes = 1 << 20;

/**
 * Puts a blob that is whole and verified into the content store. A second name of the spool's file there, durable, is claimed under the lease;
 * the caller removes the first one only when this is over, so that a collection in between takes nothing that is not there any more. A
 * blob that somebody else put there is claimed, never replaced. Throws `RuntimeError`, or what `node:fs` gives.
 */
export async function placeBlob(job: FetchJob, blob: SpoolBlob, { digest, size }: Descriptor): Promise<void> {
  const { node, leased } = job;
  const wanted: NewBlob = { digest, sizeBytes: size, labels: sourceLabels(job.repository) };
  if (node.sharingPolicy === "isolated") return writeBlob(job, blob, wanted);
  const folder = node.local(`${node.blobsFolder}/sha256`);
  const path = `${folder}/${digestHex(digest)}`;
  await job.atStep("seal");
  await blob.seal();
  for (let attempt = 1; ; attempt++) {
    await job.atStep("link");
    await linkUnlessThere(blob.path, path);
    await syncDirectory(folder);
    await job.atStep("claim");
    try {
      const result = await leased.contentWriter.claim(wanted);
      await job.atStep("check");
      if (await isFile(path)) return;
      // Collected between link and claim. A record of ours would stand for nothing; one of others' finds its file again.
      if (result === "written") await leased.contentManager.delete(digest);
    } catch (error) {
      // Not found there: collected before the claim. Unavailable: somebody else writes this blob, and may give up.
      if (!isRuntimeError(error, "failed-precondition", "unavailable", "not-found") || attempt === attempts)
        throw error;
    }
    if (attempt === attempts) return writeBlob(job, blob, wanted);
  }
}

/** What is there is as good, unless it is the link to a disk that is away. */
async function linkUnlessThere(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    if ((await lstat(to)).isSymbolicLink() && !(await isFile(to))) {
      await unlink(to);
      await link(from, to);
    }
  }
}

/** Where namespaces do not share blobs, containerd writes its own. */
async function writeBlob({ leased, atStep }: FetchJob, blob: SpoolBlob, wanted: NewBlob): Promise<void> {
  await atStep("write");
  const writer = await leased.contentWriter.open(wanted);
  if (writer === undefined) return;
  try {
    let position = 0;
    for await (const piece of blob.read(pieceBytes)) {
      const known = Math.min(piece.length, Math.max(0, writer.offset - position));
      if (known < piece.length) await writer.write(piece.subarray(known));
      position += piece.length;
    }
    await writer.commit();
  } finally {
    await writer.close();
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}
