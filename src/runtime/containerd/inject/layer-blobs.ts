import { lstat, mkdir, rm, symlink } from "node:fs/promises";
import type { IndexImage, IndexLayer } from "../../../disk/reader/disk-index.ts";
import { digestHex } from "../../../oci/descriptor.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { Condition } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { diskMountPoint, label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import { sideBySide } from "./side-by-side.ts";

/** A collection may take a link before it is claimed. */
const attempts = 3;

/**
 * Makes the layer blobs of a disk known, where it has them: links in the content store, and records for them. containerd takes files that
 * are there for what they are called, and reads through links; so `ctr image export`, pushes and other snapshotters work.
 */
export async function claimLayerBlobs(job: InjectJob, images: readonly IndexImage[]): Promise<Condition[]> {
  const { node, open } = job;
  if (!open.disk.index.blobs) return [];
  if (node.sharingPolicy === "isolated")
    return [
      {
        type: "BlobsIsolated",
        message: `containerd does not share content between namespaces (content_sharing_policy = "isolated"), so layer blobs cannot be linked: images run, but export and push need a pull`,
      },
    ];
  const known = new Set((await Array.fromAsync(node.in.content.list())).map(({ digest }) => digest));
  const layers = new Map(images.flatMap((image) => image.layers.map((layer) => [layer.digest, layer])));
  const missing = [...layers.values()].filter(({ digest }) => !known.has(digest));
  if (missing.length === 0) return [];
  await mkdir(node.local(`${node.blobsFolder}/sha256`), { recursive: true });
  await sideBySide(missing, (layer) => link(job, layer));
  job.atStep("sync blobs");
  await syncFilesystem(node.local(node.blobsFolder));
  await sideBySide(missing, (layer) => claim(job, layer));
  return [];
}

function blobPath({ node }: InjectJob, layer: IndexLayer): string {
  return node.local(`${node.blobsFolder}/sha256/${digestHex(layer.digest)}`);
}

/** A file that is there already is left: it is somebody's. */
async function link(job: InjectJob, layer: IndexLayer): Promise<void> {
  const path = blobPath(job, layer);
  const target = `${diskMountPoint(job.open.disk.id)}/blobs/sha256/${digestHex(layer.digest)}`;
  job.atStep("link blob");
  try {
    await symlink(target, path);
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
}

async function claim(job: InjectJob, layer: IndexLayer): Promise<void> {
  const { leased, meter, open } = job;
  const { digest, size, diffID } = layer;
  const labels = { [label.disk]: open.disk.id, "containerd.io/uncompressed": diffID };
  for (let attempt = 1; ; attempt++) {
    job.atStep("claim blob");
    meter.count("claim");
    try {
      const result = await leased.contentWriter.claim({ digest, sizeBytes: size, labels });
      if (result === "present" || (await isThere(blobPath(job, layer)))) return;
      // Collected between link and claim: the record is ours, its file is gone.
      await leased.contentManager.delete(digest);
    } catch (error) {
      if (!isRuntimeError(error, "failed-precondition", "unavailable") || attempt === attempts) throw error;
    }
    if (attempt === attempts) return;
    await rm(blobPath(job, layer), { force: true });
    await link(job, layer);
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
