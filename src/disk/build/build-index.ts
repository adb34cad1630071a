import type { Descriptor } from "../../oci/descriptor.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import { formatVersion, type IndexDescriptor, type IndexDocument, type IndexImage } from "../index-document.ts";
import type { PlacedChain, PlacedLayer } from "./chain.ts";
import type { BuildOptions } from "./contract.ts";

/** An image and where its trees stand. */
export type PlacedImage = { readonly image: ResolvedImage; readonly chain: PlacedChain };

/** The index with an id of zeros. */
export function buildIndex(
  images: readonly PlacedImage[],
  options: BuildOptions,
  created: { readonly text: string; readonly sequence: number },
): IndexDocument {
  return {
    formatVersion,
    id: "0".repeat(64),
    line: options.line,
    sequence: created.sequence,
    created: created.text,
    builder: options.builder,
    platform: platformOf(options.platform),
    blobs: options.blobs,
    erofsCache: options.erofsCache,
    images: images.map(indexImage).sort(byTargetThenName),
  };
}

/** The bytes of `/nodewarm.json`. */
export function encodeIndex(index: IndexDocument): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
}

function byTargetThenName(a: IndexImage, b: IndexImage): number {
  const left = `${a.target.digest} ${a.names[0] ?? ""} ${a.manifest.digest}`;
  const right = `${b.target.digest} ${b.names[0] ?? ""} ${b.manifest.digest}`;
  return left < right ? -1 : 1;
}

function indexImage({ image, chain }: PlacedImage): IndexImage {
  return {
    names: [...image.names].sort(),
    target: describe(image.target),
    manifest: describe(image.manifest),
    config: describe(image.config),
    platform: platformOf(image.platform),
    tree: chain.treePath ?? null,
    layers: image.layers.map(({ descriptor, diffID }, i) => ({
      diffID,
      chainID: chain.chainIDs[i],
      ...describe(descriptor),
      tree: chain.layers[i].path,
      ...impliedDirectories(chain.layers[i]),
      ...(chain.layers[i].inherits && { inherits: true }),
      ...whiteouts(chain.layers[i]),
    })),
  };
}

function describe({ mediaType, digest, size }: Descriptor): IndexDescriptor {
  return { mediaType, digest, size };
}

function platformOf({ os, architecture, variant }: ResolvedImage["platform"]): ResolvedImage["platform"] {
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

function whiteouts({ instance }: PlacedLayer): { readonly whiteouts?: "kept" | "applied" } {
  return instance.tree.whiteouts === undefined ? {} : { whiteouts: instance.tree.whiteouts };
}

function impliedDirectories({ instance: { tree } }: PlacedLayer): { readonly impliedDirectories?: readonly number[] } {
  if (tree.impliedDirectoryCount === 0) return {};
  const implied: number[] = [];
  for (let directory = 1; directory < tree.directoryCount; directory++)
    if (tree.payload[directory] === 1) implied.push(directory);
  return { impliedDirectories: implied };
}
