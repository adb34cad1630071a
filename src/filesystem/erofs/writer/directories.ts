import type { DirectoryAttributes } from "../../layer-instance.ts";
import { createListing, type DirectoryNode, type Listing, type TreeView } from "../../tree-view.ts";
import { blockBytes, dataLayout, direntType, inode as inodeFormat } from "../constants.ts";
import {
  createDirectoryEntries,
  type DirectoryEntries,
  type DirectoryShape,
  encodeDirectory,
  fillEntries,
  listingShape,
} from "./directory-encoder.ts";
import { encodeInode } from "./inode-encoder.ts";
import { direntTypeOf } from "./leaf-inodes.ts";
import { inlineRoom, nidAt, positionOf } from "./metadata-allocator.ts";
import type { MetadataArea } from "./metadata-area.ts";
import { xattrArea } from "./xattr-area.ts";

/** Where one directory lies: position of its inode, and of its blocks where it has any (bytes from the area's start). */
export type DirectoryPlace = { readonly position: number; readonly blocks: number | undefined };

/** Where the directories of a view lie, by their ordinal; the root is 0. */
export type DirectoryPlaces = {
  readonly nids: Uint32Array;
  readonly blocks: ReadonlyMap<number, number>;
};

type Visit = {
  readonly node: DirectoryNode;
  /** Children get the ordinals from `firstChild` on, in their order. */
  readonly ordinal: number;
  readonly parent: number;
  readonly firstChild: number;
  readonly listing: Listing;
};

/** Visits every directory of a view, always in the same order; what is in memory is one listing and the way down to it. */
async function walkDirectories(view: TreeView, visit: (visit: Visit) => Promise<void> | undefined): Promise<void> {
  const listing = createListing();
  let ordinals = 1;
  const stack = [{ nodes: [view.root], first: 0, next: 0, parent: 0 }];
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    if (frame.next === frame.nodes.length) {
      stack.pop();
      continue;
    }
    const ordinal = frame.first + frame.next;
    const node = frame.nodes[frame.next++];
    view.list(node, listing);
    const nodes: DirectoryNode[] = [];
    for (let i = 0; i < listing.count; i++) {
      const directory = listing.directory[i];
      if (directory !== undefined) nodes.push(directory);
    }
    const wait = visit({ node, ordinal, parent: frame.parent, firstChild: ordinals, listing });
    if (wait !== undefined) await wait;
    if (nodes.length > 0) stack.push({ nodes, first: ordinals, next: 0, parent: ordinal });
    ordinals += nodes.length;
  }
}

/** Whether the last, partial block of a directory goes behind its inode. */
function isInline(shape: DirectoryShape, xattrBytes: number): boolean {
  return shape.tailBytes <= inlineRoom(xattrBytes);
}

export function placeDirectory(area: MetadataArea, shape: DirectoryShape, xattrBytes: number): DirectoryPlace {
  const inline = isInline(shape, xattrBytes);
  const blockCount = shape.fullBlocks + (inline ? 0 : 1);
  const blocks = blockCount > 0 ? area.allocator.blocks(blockCount) : undefined;
  const bytes = inodeFormat.bytes + xattrBytes;
  const position =
    bytes > blockBytes
      ? area.allocator.next(bytes, inodeFormat.bytes)
      : area.allocator.packed(bytes + (inline ? shape.tailBytes : 0));
  area.inodeCount++;
  return { position, blocks };
}

/** Gives every directory of `view` its place. Needed before any is written: parents and children name each other. */
export async function placeDirectories(area: MetadataArea, view: TreeView): Promise<DirectoryPlaces> {
  // A directory of the view is one of some layer at least.
  const nids = new Uint32Array(view.instances.reduce((sum, { tree }) => sum + tree.directoryCount, 0));
  const blocks = new Map<number, number>();
  await walkDirectories(view, ({ node, ordinal, listing }) => {
    const shape = listingShape(view, listing);
    const place = placeDirectory(area, shape, xattrArea(view.attributes(node).xattrs).length);
    nids[ordinal] = nidAt(place.position);
    if (place.blocks !== undefined) blocks.set(ordinal, place.blocks);
    return undefined;
  });
  return { nids, blocks };
}

/** Writes the directories of `view` where they were placed. `leafNids`: by layer instance, from `writeLeafInodes`. */
export async function writeDirectories(
  area: MetadataArea,
  view: TreeView,
  places: DirectoryPlaces,
  leafNids: readonly Uint32Array[],
  parentNid: number,
): Promise<void> {
  const entries = createDirectoryEntries();
  await walkDirectories(view, ({ node, ordinal, parent, firstChild, listing }) => {
    const nid = places.nids[ordinal];
    let child = firstChild;
    const inodeOf = (i: number): number => view.instances[listing.instance[i]].tree.entryInode[listing.entry[i]];
    fillEntries(
      entries,
      view,
      listing,
      (i) => {
        if (listing.directory[i] !== undefined) return places.nids[child++];
        const { tree } = view.instances[listing.instance[i]];
        return leafNids[listing.instance[i]][inodeOf(i) - tree.directoryCount];
      },
      (i) => {
        if (listing.directory[i] !== undefined) return direntType.directory;
        const { tree } = view.instances[listing.instance[i]];
        return direntTypeOf(tree.attributes[tree.attribute[inodeOf(i)]].mode);
      },
      { nid, parentNid: ordinal === 0 ? parentNid || nid : places.nids[parent], type: direntType.directory },
    );
    return writeDirectory(
      area,
      nid,
      places.blocks.get(ordinal),
      view.attributes(node),
      entries,
      listingShape(view, listing),
    );
  });
}

/** Writes one directory; returns a promise only where there is something to wait for. */
export function writeDirectory(
  area: MetadataArea,
  nid: number,
  blocks: number | undefined,
  attributes: DirectoryAttributes,
  entries: DirectoryEntries,
  shape: DirectoryShape,
): Promise<void> | undefined {
  const xattrs = xattrArea(attributes.xattrs);
  const data = encodeDirectory(entries, shape);
  const inline = isInline(shape, xattrs.length);
  const behind = inline ? data.subarray(shape.fullBlocks * blockBytes) : data.subarray(data.length);
  let linkCount = 0;
  for (let i = 0; i < entries.count; i++) if (entries.types[i] === direntType.directory) linkCount++;
  const bytes = new Uint8Array(inodeFormat.bytes + xattrs.length + behind.length);
  const end = encodeInode(
    bytes,
    {
      ...attributes,
      layout: inline ? dataLayout.flatInline : dataLayout.flatPlain,
      linkCount,
      sizeBytes: data.length,
      union: blocks === undefined ? 0 : area.firstBlock + blocks / blockBytes,
      nid,
    },
    xattrs,
  );
  bytes.set(behind, end);
  const wait = area.writer.write(bytes, positionOf(nid));
  if (blocks === undefined) return wait;
  const outside = data.subarray(0, inline ? shape.fullBlocks * blockBytes : data.length);
  return (async () => {
    await wait;
    await area.writer.write(outside, blocks);
  })();
}
