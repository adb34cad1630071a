import { rename, rm, stat, writeFile } from "node:fs/promises";
import { type Descriptor, digestHex } from "../../../oci/descriptor.ts";
import type { ImageDocument } from "../../../oci/resolved-image.ts";
import { lockRemovableFile } from "../../host/file-lock.ts";
import { syncDirectory } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { FetchJob } from "./fetch-job.ts";
import { spoolPaths } from "./spool.ts";

type Store = Pick<ContainerdNode, "blobsFolder" | "local">;

/** Whether the file of a blob is there and as long as it should be. Throws what `stat(2)` gives. */
export async function hasFile(store: Store, { digest, size }: Descriptor): Promise<boolean> {
  const stats = await stat(blobPath(store, digest)).catch((error) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  return stats?.size === size;
}

/**
 * Puts the files of documents back that containerd has records of and that are gone or cut short: after a power cut, since containerd does
 * not sync the folder that it moves them into (`plugins/content/local/writer.go`), or by hand. containerd itself would never write them again. Then
 * makes the names of all durable, so that no image record is found without them. Throws what `node:fs` gives, or the reason of the signal.
 */
export async function secureDocuments(job: FetchJob): Promise<void> {
  for (const document of job.image.documents)
    if (!(await hasFile(job.node, document.descriptor))) await putBack(job, document);
  await job.atStep("sync documents");
  await syncDirectory(job.node.local(`${job.node.blobsFolder}/sha256`));
}

async function putBack(job: FetchJob, { descriptor, bytes }: ImageDocument): Promise<void> {
  const { data, ranges } = spoolPaths(job.spool, descriptor.digest);
  const lock = await lockRemovableFile(ranges, job.options.signal);
  try {
    if (await hasFile(job.node, descriptor)) return;
    await job.atStep("put document back");
    await rm(data, { force: true });
    await writeFile(data, bytes, { mode: 0o444, flag: "wx", flush: true });
    await rename(data, blobPath(job.node, descriptor.digest));
  } finally {
    await rm(data, { force: true });
    await lock.remove();
  }
}

function blobPath(store: Store, digest: Descriptor["digest"]): string {
  return store.local(`${store.blobsFolder}/sha256/${digestHex(digest)}`);
}
