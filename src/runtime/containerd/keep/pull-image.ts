import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import type { FetchOptions, FetchReport } from "../../image-keeper.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import { openCri } from "../client/cri/cri-client.ts";
import { type ContainerdNode, criNamespace } from "../containerd-node.ts";
import { idRecordName } from "../inject/plan.ts";
import { lockNode } from "../node-lock.ts";
import { isPinned, recordLabels, recordOrigin } from "../ownership.ts";
import type { DocumentCache } from "./document-cache.ts";
import { lookOneByOne } from "./look.ts";
import { setName } from "./name-image.ts";
import { Warmth } from "./warmth.ts";

/**
 * Makes an image warm by CRI's own pull: for snapshotters that unpack in their own way, or do not unpack at all. What is made new is ours.
 * Throws `RuntimeError`, or the reason of the signal.
 */
export async function pullImage(
  node: ContainerdNode,
  documents: DocumentCache,
  image: ResolvedImage,
  repository: string,
  { signal, onProgress, admit, credential }: FetchOptions,
): Promise<FetchReport> {
  const { digest } = image.target;
  const name = `${repository}@${digest}`;
  const totalBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const isWarm = async () => {
    const { missing } = await new Warmth(node, documents, lookOneByOne(node, signal), signal).of(digest);
    return missing === "";
  };
  const report = (result: FetchReport["result"], fetchedBytes: number): FetchReport => {
    const fetchedLayers = result === "fetched" && fetchedBytes > 0 ? image.layers.length : 0;
    onProgress?.({ fetchedBytes, presentBytes: totalBytes - fetchedBytes, unpackedBytes: totalBytes, totalBytes });
    const presentLayers = image.layers.length - fetchedLayers;
    return { result, fetchedBytes, diskBytes: 0, fetchedLayers, presentLayers, conditions: [] };
  };
  if (await isWarm()) {
    const [before] = await node.in.images.list([`name=="${name}"`], { signal });
    await setName(node, documents, name, digest, signal);
    return report(before?.target.digest === digest ? "present" : "fetched", 0);
  }
  if (node.namespace !== criNamespace)
    throw new RuntimeError(
      "unimplemented",
      `images of namespace ${node.namespace} with snapshotter "${node.snapshotter}" are pulled by nobody`,
    );
  onProgress?.({ fetchedBytes: 0, presentBytes: 0, unpackedBytes: 0, totalBytes });
  await admit?.(totalBytes);
  const ours = [name, idRecordName(image.config.digest)];
  const before = new Set((await node.in.images.list([], { signal })).map((record) => record.name));
  using cri = openCri(node.client.address);
  await cri.images.pull(name, { signal, credential });
  {
    await using _ = await lockNode(node, signal);
    for (const record of ours) if (!before.has(record)) await markAsOurs(node, record, signal);
  }
  await setName(node, documents, name, digest, signal);
  return report("fetched", totalBytes);
}

/** A record that the pull made. */
async function markAsOurs(node: ContainerdNode, name: string, signal: AbortSignal): Promise<void> {
  try {
    const record = await node.in.images.get(name, { signal });
    if (recordOrigin(record).from !== "elsewhere" && isPinned(record.labels)) return;
    await node.in.images.update(name, { labels: recordLabels(name, "fetched", true) }, { signal });
  } catch (error) {
    // CRI makes the record of the id a moment later, with the labels of this one.
    if (!isRuntimeError(error, "not-found")) throw error;
  }
}
