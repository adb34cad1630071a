import { lstat, mkdir, readlink, stat, symlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { IndexImage, IndexLayer } from "../../../disk/reader/disk-index.ts";
import { digestHex } from "../../../oci/descriptor.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { Condition } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import { label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import { passesTo } from "./relink.ts";

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
  const known = new Map((await Array.fromAsync(node.in.content.list())).map((blob) => [blob.digest, blob]));
  const layers = [...new Map(images.flatMap((image) => image.layers.map((layer) => [layer.digest, layer]))).values()];
  const missing = layers.filter(({ digest }) => !known.has(digest));
  // A power cut may have taken the link of one of ours, and those of an older disk move here.
  const owner = ({ digest }: IndexLayer): string | undefined => known.get(digest)?.labels[label.disk];
  const passing = layers.filter((layer) => passesTo(job, owner(layer)));
  const ours = layers.filter((layer) => owner(layer) === open.disk.id);
  await mkdir(node.local(`${node.blobsFolder}/sha256`), { recursive: true });
  let put = 0;
  await sideBySide([...missing, ...passing, ...ours], async (layer) => {
    if (await link(job, layer)) put++;
  });
  if (put > 0) {
    job.atStep("sync blobs");
    await syncFilesystem(node.local(node.blobsFolder));
  }
  await sideBySide(missing, (layer) => claim(job, layer));
  await sideBySide(passing, async ({ digest }) => {
    job.atStep("relabel blob");
    job.meter.count("label");
    await node.in.contentManager.updateLabels(digest, { [label.disk]: open.disk.id });
  });
  return [];
}

function blobPath({ node }: InjectJob, layer: IndexLayer): string {
  return node.local(`${node.blobsFolder}/sha256/${digestHex(layer.digest)}`);
}

/** Whether something was changed. A file is left: it is somebody's, and as good. So is the link to another disk, while that is there. */
async function link(job: InjectJob, layer: IndexLayer): Promise<boolean> {
  const path = blobPath(job, layer);
  const target = `${diskMountPoint(job.open.disk.id)}/blobs/sha256/${digestHex(layer.digest)}`;
  const before = await readlink(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    if (errorCode(error) === "EINVAL") return target;
    throw error;
  });
  if (before === target) return false;
  const disk = before && diskOfBlobLink(before);
  // An absolute link is to be followed as containerd sees it.
  const isFree = before === undefined || (disk && (passesTo(job, disk) || !(await exists(job.node.local(before)))));
  if (!isFree) return false;
  job.atStep("link blob");
  if (before !== undefined) return swapInLink(path, target);
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** Id of the disk that a link of ours in the content store leads to; `undefined` for other links. */
function diskOfBlobLink(target: string): string | undefined {
  const id = basename(dirname(dirname(dirname(target))));
  return target.startsWith(`${diskMountPoint(id)}/blobs/`) ? id : undefined;
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
    await link(job, layer);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
