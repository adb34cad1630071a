import type { SkeletonDirectory, SkeletonFile, SkeletonNode } from "../../filesystem/erofs/writer/skeleton.ts";
import { digestHex } from "../../oci/descriptor.ts";
import { filesName, indexName } from "../index-document.ts";
import type { BlobPlan } from "./blob-plan.ts";

type MutableDirectory = { readonly kind: "directory"; readonly children: Map<string, SkeletonNode> };

/** Where a contiguous file lies; filled in once it is known. */
export type LatePlace = { sizeBytes: number; firstBlock: number };

export type SkeletonParts = {
  readonly blobs: BlobPlan["blobs"];
  /** Paths of layer trees and merged trees. */
  readonly trees: readonly string[];
  readonly rootNid: (path: string) => number;
  /** By diffID hex. */
  readonly layerImages: ReadonlyMap<string, SkeletonFile>;
  readonly index: LatePlace;
  readonly files: LatePlace;
};

/** The root of a disk as `docs/disk-format.md`, section 3, has it. */
export function skeletonRoot(parts: SkeletonParts): SkeletonDirectory {
  const root: MutableDirectory = { kind: "directory", children: new Map() };
  add(root, indexName, contiguous(parts.index));
  add(root, filesName, contiguous(parts.files));
  for (const { digest, sizeBytes, firstBlock } of parts.blobs.values())
    add(root, `blobs/sha256/${digestHex(digest)}`, contiguous({ sizeBytes, firstBlock }));
  for (const path of parts.trees) add(root, path, { kind: "mount", rootNid: () => parts.rootNid(path) });
  for (const [hex, file] of parts.layerImages) add(root, `erofs/sha256/${hex.slice(0, 2)}/${hex}.erofs`, file);
  return root;
}

function contiguous(place: LatePlace): SkeletonFile {
  return {
    kind: "file",
    mapEntries: 0,
    place: () => ({ sizeBytes: place.sizeBytes, blocks: place.firstBlock }),
  };
}

function add(root: MutableDirectory, path: string, node: SkeletonNode): void {
  const names = path.split("/");
  const name = names.pop() ?? path;
  let directory = root;
  for (const parent of names) {
    let child = directory.children.get(parent);
    if (child?.kind !== "directory") {
      child = { kind: "directory", children: new Map() };
      directory.children.set(parent, child);
    }
    directory = child as MutableDirectory;
  }
  directory.children.set(name, node);
}
