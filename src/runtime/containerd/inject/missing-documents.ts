import { lstat } from "node:fs/promises";
import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";
import type { DiskDocuments } from "./disk-documents.ts";
import { recordNames } from "./plan.ts";

/**
 * The images that have all their records, but no longer all of their documents: removed with `ctr content rm`, or lost with a file. Their
 * containers do not start, and nothing else would bring the documents back. Throws `DiskError` and `RuntimeError`.
 */
export async function withMissingDocuments(
  node: ContainerdNode,
  documents: DiskDocuments,
  images: readonly IndexImage[],
  state: OwnedState,
): Promise<ReadonlySet<IndexImage>> {
  const known = new Set(state.blobs.map(({ digest }) => digest));
  // Of others the documents are written anyway.
  const recorded = images.filter((image) => recordNames(image, node.namespace).every((name) => state.images.has(name)));
  const incomplete = new Set<IndexImage>();
  await sideBySide(recorded, async (image) => {
    for (const { digest } of await documents.of(image)) {
      const isThere = (known.has(digest) || (await hasRecord(node, digest))) && (await hasFile(node, digest));
      if (!isThere) incomplete.add(image);
    }
  });
  return incomplete;
}

/** Also of those that a pull brought. */
async function hasRecord(node: ContainerdNode, digest: Digest): Promise<boolean> {
  try {
    await node.in.content.info(digest);
    return true;
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return false;
    throw error;
  }
}

async function hasFile(node: ContainerdNode, digest: Digest): Promise<boolean> {
  return lstat(node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`)).then(
    () => true,
    () => false,
  );
}
