import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { NewBlob, WriteResult } from "../client/content-writer.ts";
import type { Labels } from "../client/label.ts";
import { label } from "../ownership.ts";
import { chainEnds } from "./chain-snapshots.ts";
import type { ImageDocument } from "./disk-documents.ts";
import { isPlaced, placeDocuments } from "./document-files.ts";
import type { JobPlace } from "./job.ts";
import { topChainID } from "./plan.ts";

/**
 * Writes index, manifest and config of images as real files, so that the images are known when the disk is away; their labels keep from
 * garbage collection what they refer to (containerd, `docs/garbage-collection.md`). Blobs that are there already get the references that
 * they lack, and stay whose they were.
 */
export async function writeDocuments(job: JobPlace, images: readonly IndexImage[]): Promise<void> {
  if (images.length === 0) return;
  const read: { readonly image: IndexImage; readonly documents: readonly ImageDocument[] }[] = [];
  await sideBySide(images, async (image) => {
    read.push({ image, documents: await job.documents.of(image) });
  });
  const placed = await placeDocuments(
    job,
    read.flatMap(({ documents }) => documents),
  );
  await sideBySide(read, async ({ image, documents }) => {
    // The lease holds the first, and that, by its labels, what comes below: it costs pages of the database for each blob that it names itself.
    for (const [depth, document] of documents.entries())
      await writeDocument(job, depth === 0 ? job.leased : job.node.in, image, document, placed.has(document.digest));
  });
}

async function writeDocument(
  job: JobPlace,
  namespace: NamespaceClient,
  image: IndexImage,
  document: ImageDocument,
  isFileThere: boolean,
): Promise<void> {
  const { meter, open } = job;
  const references = referencesOf(job, image, document);
  const labels = { ...references, [label.disk]: open.disk.id };
  const blob = { digest: document.digest, sizeBytes: document.bytes.length, labels };
  if ((await record(job, namespace, blob, document, isFileThere)) === "written") return;
  const known = await namespace.content.info(document.digest);
  const missing = Object.entries(references).filter(([key]) => known.labels[key] === undefined);
  if (missing.length === 0) return;
  job.atStep("document labels");
  meter.count("label");
  await namespace.contentManager.updateLabels(document.digest, Object.fromEntries(missing));
}

/** Claims the file of a document, or has containerd write it. */
async function record(
  job: JobPlace,
  namespace: NamespaceClient,
  blob: NewBlob,
  { digest, bytes }: ImageDocument,
  isFileThere: boolean,
): Promise<WriteResult> {
  const { meter } = job;
  job.atStep("document");
  if (isFileThere) {
    meter.count("claim");
    try {
      const result = await namespace.contentWriter.claim(blob);
      if (result === "present" || (await isPlaced(job, digest))) return result;
      // Collected before it was claimed: the record is ours, its file is gone.
      await namespace.contentManager.delete(digest);
    } catch (error) {
      if (!isRuntimeError(error, "failed-precondition", "unavailable", "not-found")) throw error;
    }
  }
  meter.count("write");
  return namespace.contentWriter.write(blob, bytes);
}

function referencesOf(job: JobPlace, image: IndexImage, { kind, child }: ImageDocument): Labels {
  switch (kind) {
    case "index":
      return { "containerd.io/gc.ref.content.m.0": child ?? "" };
    case "manifest": {
      const layers = job.open.disk.index.blobs ? image.layers : [];
      return {
        "containerd.io/gc.ref.content.config": child ?? "",
        ...Object.fromEntries(layers.map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest])),
      };
    }
    case "config": {
      const top = topChainID(image);
      const below = image.layers.at(-2)?.chainID;
      const reference = `containerd.io/gc.ref.snapshot.${job.node.snapshotter}`;
      const others = chainEnds(image.layers).filter((name) => name !== below);
      return {
        ...(top !== undefined && { [reference]: top }),
        // Also for a chain that is not there yet: whoever completes it, a pull or we, then keeps it.
        ...(below !== undefined && { [`${reference}/chain`]: below }),
        ...Object.fromEntries(others.map((name, i) => [`${reference}/chain.${i}`, name])),
      };
    }
  }
}
