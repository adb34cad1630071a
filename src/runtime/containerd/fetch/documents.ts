import { indexMediaTypes, parseIndex } from "../../../oci/image-documents.ts";
import type { ImageDocument } from "../../../oci/resolved-image.ts";
import type { Labels } from "../client/label.ts";
import { secureDocuments } from "./document-files.ts";
import { type FetchJob, imageName } from "./fetch-job.ts";
import { sourceLabels } from "./source-labels.ts";

/** More would have been refused when the image was resolved. */
const maxIndexEntries = 100_000;

/**
 * Writes config, manifest and indexes, with the labels by which containerd's garbage collection keeps what they refer to: those that a pull
 * sets (`core/images/handlers.go`, ChildGCLabels; `core/unpack/unpacker.go`). What is there already gets those that it lacks. All of them are
 * whole and durable afterwards.
 */
export async function writeDocuments(job: FetchJob): Promise<void> {
  // What refers comes after what it refers to.
  for (const document of job.image.documents.toReversed()) await writeDocument(job, document);
  await secureDocuments(job);
}

async function writeDocument(job: FetchJob, document: ImageDocument): Promise<void> {
  const { leased } = job;
  const { digest, size } = document.descriptor;
  const references = referencesOf(job, document);
  const labels = { ...references, ...sourceLabels(job.repository) };
  await job.atStep("document");
  if ((await leased.contentWriter.write({ digest, sizeBytes: size, labels }, document.bytes)) === "written") return;
  const known = (await leased.content.info(digest)).labels;
  const wanted = { ...references, ...sourceLabels(job.repository, known) };
  const change = Object.fromEntries(Object.entries(wanted).filter(([key, value]) => known[key] !== value));
  if (Object.keys(change).length === 0) return;
  await job.atStep("document labels");
  await leased.contentManager.updateLabels(digest, change);
}

/** Labels of a document that name what it refers to. */
export function referencesOf(
  job: Pick<FetchJob, "node" | "image" | "chain" | "repository">,
  { descriptor, bytes }: ImageDocument,
): Labels {
  const { node, image, chain } = job;
  if (descriptor.digest === image.config.digest) {
    const top = chain.at(-1);
    return top === undefined ? {} : { [`containerd.io/gc.ref.snapshot.${node.snapshotter}`]: top };
  }
  if (descriptor.digest === image.manifest.digest) {
    const layers = image.layers.map(({ descriptor: layer }, i) => [
      `containerd.io/gc.ref.content.l.${i}`,
      layer.digest,
    ]);
    return { "containerd.io/gc.ref.content.config": image.config.digest, ...Object.fromEntries(layers) };
  }
  if (!indexMediaTypes.includes(descriptor.mediaType)) return {};
  // Those of other platforms too, which need not be there.
  const manifests = parseIndex(bytes, maxIndexEntries, imageName(job));
  return Object.fromEntries(manifests.map(({ digest }, i) => [`containerd.io/gc.ref.content.m.${i}`, digest]));
}
