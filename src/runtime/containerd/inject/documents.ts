import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Labels } from "../client/label.ts";
import { label } from "../ownership.ts";
import { chainEnds } from "./chain-snapshots.ts";
import { type ImageDocument, imageDocuments } from "./disk-documents.ts";
import type { InjectJob } from "./job.ts";
import { topChainID } from "./plan.ts";

/**
 * Writes index, manifest and config of an image as real files, so that the image is known when the disk is away; their labels keep from
 * garbage collection what they refer to (containerd, `docs/garbage-collection.md`). Blobs that are there already get the references that
 * they lack, and stay whose they were.
 */
export async function writeDocuments(job: InjectJob, image: IndexImage): Promise<void> {
  const { leased, meter, open } = job;
  for (const document of await imageDocuments(open.disk, image)) {
    const references = referencesOf(job, image, document);
    job.atStep("document");
    meter.count("write");
    const labels = { ...references, [label.disk]: open.disk.id };
    const blob = { digest: document.digest, sizeBytes: document.bytes.length, labels };
    if ((await leased.contentWriter.write(blob, document.bytes)) === "written") continue;
    const known = await leased.content.info(document.digest);
    const missing = Object.entries(references).filter(([key]) => known.labels[key] === undefined);
    if (missing.length === 0) continue;
    job.atStep("document labels");
    meter.count("label");
    await leased.contentManager.updateLabels(document.digest, Object.fromEntries(missing));
  }
}

function referencesOf(job: InjectJob, image: IndexImage, { kind, child }: ImageDocument): Labels {
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
