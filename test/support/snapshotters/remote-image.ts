import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Descriptor } from "../../../src/oci/descriptor.ts";
import { addBlob, addDocument, addLayer, blobPath, type MadeImage, makeImage, mediaTypes } from "../image-maker.ts";
import { run } from "../processes.ts";
import { type InjectionImages, platform } from "../runtimes/injection.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import { type SnapshotterName, snapshotterProgram } from "./snapshotter-programs.ts";

export type RemoteImage = {
  readonly image: MadeImage;
  /** What else the registry has to have, beside the image. */
  readonly index?: Descriptor;
};

/** An image with a layer that the snapshotter leaves in the registry, above `base` where containers can be made of it here. */
export function makeRemoteImage(
  scope: Scope,
  name: SnapshotterName,
  { layout, base }: InjectionImages,
  archive: Uint8Array,
): Promise<RemoteImage> {
  switch (name) {
    case "stargz":
      return stargzImage(scope, layout, base, archive);
    case "soci":
      return sociImage(scope, layout, base, archive);
    case "overlaybd":
      return overlaybdImage(layout, archive);
  }
}

/** An eStargz layer (stargz-snapshotter `docs/estargz.md`). */
async function stargzImage(scope: Scope, layout: string, base: MadeImage, archive: Uint8Array): Promise<RemoteImage> {
  const folder = await temporaryDirectory(scope, "estargz");
  const [plain, blob] = [join(folder, "layer.tar"), join(folder, "layer.tar.gz")];
  await writeFile(plain, archive);
  const tableDigest = (await run(await programOf("stargz"), ["build", plain, blob])).trim();
  const annotations = { "containerd.io/snapshot/stargz/toc.digest": tableDigest };
  // Its entries are sorted, and its table is one of them: another archive than before.
  const layer = await addLayer(layout, { tar: gunzipSync(await readFile(blob)), blob, annotations });
  return { image: await makeImage(layout, { layers: [...base.layers, layer], platform }) };
}

/** A layer as it is, and an index beside the image with the table of its contents (soci-snapshotter `docs/soci-index-manifest-v2.md`). */
async function sociImage(scope: Scope, layout: string, base: MadeImage, archive: Uint8Array): Promise<RemoteImage> {
  const layer = await addLayer(layout, { tar: archive });
  const { digest, mediaType } = layer.descriptor;
  const file = join(await temporaryDirectory(scope, "soci"), "ztoc");
  await run(await programOf("soci"), ["index", blobPath(layout, digest), file]);
  const table = await addBlob(layout, file, "application/octet-stream");
  const type = "application/vnd.amazon.soci.index.v2+json";
  const about = { "com.amazon.soci.image-layer-digest": digest, "com.amazon.soci.image-layer-mediaType": mediaType };
  // The snapshotter writes it anew, and wants the same bytes: these fields in this order.
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: await addDocument(layout, {}, type),
    layers: [{ ...table, annotations: about }],
  };
  const index = await addDocument(layout, document, mediaTypes.ociManifest);
  const manifest = { annotations: { "com.amazon.soci.index-digest": index.digest } };
  return { image: await makeImage(layout, { layers: [...base.layers, layer], platform, manifest }), index };
}

/** A layer that is marked as one in overlaybd's format: nobody looks before a container starts. */
async function overlaybdImage(layout: string, archive: Uint8Array): Promise<RemoteImage> {
  const plain = await addLayer(layout, { tar: archive, compression: "none" });
  const { digest, size } = plain.descriptor;
  const format = "containerd.io/snapshot/overlaybd";
  const annotations = { [`${format}/blob-digest`]: digest, [`${format}/blob-size`]: String(size) };
  const layer = { ...plain, descriptor: { ...plain.descriptor, annotations } };
  return { image: await makeImage(layout, { layers: [layer], platform }) };
}

async function programOf(name: SnapshotterName): Promise<string> {
  const { path, reason } = await snapshotterProgram(name);
  if (path === undefined) throw new Error(reason);
  return path;
}
