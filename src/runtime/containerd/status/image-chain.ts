import { chainIDs } from "../../../disk/build/chain.ts";
import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import { array, object, orAbsent, readShape, type Shape, string, stringThat } from "../../../oci/json-shape.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContentReader } from "../client/content.ts";

/** What an image stands on, as its documents in the content store say. */
export type ImageChain = {
  readonly config: Digest;
  /** Of the layers, from the bottom. */
  readonly diffIDs: readonly Digest[];
  readonly chainIDs: readonly Digest[];
};

const digest = stringThat(isDigest, "a digest");
const anyDocument = object({
  config: orAbsent(object({ digest })),
  manifests: orAbsent(array(object({ digest: string }))),
});
const configDocument = object({ rootfs: orAbsent(object({ diff_ids: orAbsent(array(digest)) })) });

const maxDocumentBytes = 16 << 20;
const maxIndexDepth = 4;

/**
 * Follows an image's target to the manifest that is there (of the platforms of an index, nodes have one), and to its config. `undefined` when
 * a document is missing or is none. Throws `RuntimeError` for anything else than a missing blob.
 */
export async function readImageChain(content: ContentReader, target: Digest): Promise<ImageChain | undefined> {
  const config = await configOf(content, target, maxIndexDepth);
  if (config === undefined) return undefined;
  const document = await readDocument(content, config, configDocument);
  if (document === undefined) return undefined;
  const diffIDs = document.rootfs?.diff_ids ?? [];
  return { config, diffIDs, chainIDs: chainIDs(diffIDs) };
}

async function configOf(content: ContentReader, digest: Digest, depth: number): Promise<Digest | undefined> {
  const document = await readDocument(content, digest, anyDocument);
  if (document?.config !== undefined) return document.config.digest;
  if (depth === 0) return undefined;
  for (const child of document?.manifests ?? []) {
    const found = isDigest(child.digest) ? await configOf(content, child.digest, depth - 1) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readDocument<T>(content: ContentReader, digest: Digest, shape: Shape<T>): Promise<T | undefined> {
  try {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of content.read(digest)) {
      bytes += piece.length;
      if (bytes > maxDocumentBytes) return undefined;
      pieces.push(piece);
    }
    return readShape(shape, JSON.parse(Buffer.concat(pieces).toString())).value;
  } catch (error) {
    if (isRuntimeError(error, "not-found") || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
