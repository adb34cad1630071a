import type { Platform } from "../oci/descriptor.ts";

/** The format version that this code writes and reads. */
export const formatVersion = "1.0";

/** Name of the index in the root of a disk, and of the table of digests. */
export const indexName = "nodewarm.json";
export const filesName = "nodewarm.files";

export type IndexDescriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

export type IndexLayer = {
  readonly diffID: string;
  readonly chainID: string;
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly tree: string;
  /** Numbers of the directories that the tar only implies, in breadth-first order of the tree; left out when there are none. */
  readonly impliedDirectories?: readonly number[];
  /**
   * Other entries than implied directories have xattrs of the layers below, or might have in another chain; left out when not so. Trees
   * of such a layer share no inodes where they differ, and `--from` does not take the layer from one.
   */
  readonly inherits?: boolean;
  readonly whiteouts?: "kept" | "applied";
};

export type IndexImage = {
  readonly names: readonly string[];
  readonly target: IndexDescriptor;
  readonly manifest: IndexDescriptor;
  readonly config: IndexDescriptor;
  readonly platform: Platform;
  readonly tree: string | null;
  readonly layers: readonly IndexLayer[];
};

/** `/nodewarm.json`, keys in the order in which they are written. */
export type IndexDocument = {
  readonly formatVersion: string;
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  readonly created: string;
  readonly builder: string;
  readonly platform: Platform;
  readonly blobs: boolean;
  readonly erofsCache: boolean;
  readonly images: readonly IndexImage[];
};
