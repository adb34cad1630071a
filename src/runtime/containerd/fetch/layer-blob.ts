import { lstat, stat, unlink } from "node:fs/promises";
import { type Descriptor, type Digest, digestHex } from "../../../oci/descriptor.ts";
import { OciError } from "../../../oci/oci-error.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { isDiskFull } from "./disk-full.ts";
import { download } from "./download.ts";
import { type FetchJob, imageName } from "./fetch-job.ts";
import { placeBlob } from "./place-blob.ts";
import { PrefixHash } from "./prefix-hash.ts";
import { sourceLabels } from "./source-labels.ts";
import { removeFromSpool, spoolPaths } from "./spool.ts";
import { SpoolBlob } from "./spool-blob.ts";

/**
 * Makes the blob of a layer be in the namespace, held by the lease: the one that is there, or fetched. Two that want the same one fetch it
 * once. Throws `OciError`, `RuntimeError`, what `node:fs` gives, or the reason of `signal`.
 */
export async function ensureBlob(job: FetchJob, index: number, signal: AbortSignal): Promise<void> {
  const descriptor = layerOf(job, index);
  if (await claimPresent(job, descriptor)) {
    // Left where a fetch was killed between claiming the blob and this.
    const paths = spoolPaths(job.spool, descriptor.digest);
    if (await isThere(paths.ranges)) await removeFromSpool(paths);
    await notePresent(job, descriptor);
    return;
  }
  const blob = await SpoolBlob.open(job.spool, descriptor, signal);
  let how: "keep" | "remove" = "keep";
  try {
    // While we waited for the lock, somebody may have fetched it.
    if (await claimPresent(job, descriptor)) {
      how = "remove";
      await notePresent(job, descriptor);
      return;
    }
    job.meter.present(blob.resumedBytes);
    await job.atStep("fetch");
    await fetchVerified(job, index, blob, signal);
    await placeBlob(job, blob, descriptor);
    job.meter.fetchedLayers++;
    how = "remove";
    await job.atStep("unlink");
  } catch (error) {
    if (isDiskFull(error) || isDiskFull(signal.reason) || isWrong(error)) how = "remove";
    throw error;
  } finally {
    await blob.close(how);
  }
}

/** Bytes that an earlier fetch left, and that are wrong, are fetched anew, once. */
async function fetchVerified(job: FetchJob, index: number, blob: SpoolBlob, signal: AbortSignal): Promise<void> {
  const { image, options, meter } = job;
  const { digest, size } = layerOf(job, index);
  const onBytes = (bytes: number) => meter.fetched(bytes);
  using hash = new PrefixHash(blob.path);
  for (;;) {
    const resumed = blob.resumedBytes;
    await download({ image, index, blob, hash, admit: options.admit, onBytes, signal });
    await job.atStep("verify");
    const actual = await hash.digest(size);
    if (actual === digest) return;
    if (resumed === 0)
      throw new OciError(
        "digest-mismatch",
        `The bytes that came for layer ${index + 1} of ${imageName(job)} have the digest ${actual} instead of ${digest}; ` +
          "the registry, or a proxy on the way, serves something else",
      );
    meter.present(-resumed);
    meter.fetched(resumed - size);
    await blob.startOver();
    hash.startOver();
  }
}

function isWrong(error: unknown): boolean {
  return error instanceof OciError && (error.code === "digest-mismatch" || error.code === "size-mismatch");
}

/** Puts a blob under the lease that this namespace has, or another one, with its file. */
async function claimPresent(job: FetchJob, descriptor: Descriptor): Promise<boolean> {
  const { node, leased, repository } = job;
  const { digest, size } = descriptor;
  const path = blobFile(node, digest);
  if (!(await isThere(path))) return false;
  if (!(await leadsToFile(path))) {
    // A link to a disk that is away. The record, if there is one, finds the bytes again once they are in its place.
    await unlink(path).catch(() => {});
    return false;
  }
  try {
    await job.atStep("claim present");
    const labels = sourceLabels(repository);
    if ((await leased.contentWriter.claim({ digest, sizeBytes: size, labels })) === "written") return isThere(path);
    const known = (await leased.content.info(digest)).labels;
    const wanted = sourceLabels(repository, known);
    if (Object.entries(wanted).some(([key, value]) => known[key] !== value)) {
      await job.atStep("source label");
      await leased.contentManager.updateLabels(digest, wanted);
    }
    return true;
  } catch (error) {
    if (isRuntimeError(error, "failed-precondition", "not-found", "unavailable")) return false;
    throw error;
  }
}

async function notePresent({ node, meter }: FetchJob, { digest, size }: Descriptor): Promise<void> {
  const stats = await lstat(blobFile(node, digest)).catch(() => undefined);
  if (stats?.isSymbolicLink()) meter.diskBytes += size;
  meter.presentLayers++;
  meter.present(size);
}

function blobFile(node: FetchJob["node"], digest: Digest): string {
  return node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`);
}

function layerOf({ image }: FetchJob, index: number): Descriptor {
  const layer = image.layers[index];
  if (layer === undefined) throw new RangeError(`the image has no layer ${index}`);
  return layer.descriptor;
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function leadsToFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}
