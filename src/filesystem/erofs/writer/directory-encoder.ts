import { nameStart } from "../../names.ts";
import type { Listing, TreeView } from "../../tree-view.ts";
import { blockBytes, dirent as format } from "../constants.ts";

/** A directory's entries in the order of their names, `.` and `..` among them; the arrays are used again. */
export type DirectoryEntries = {
  count: number;
  /** Entry `i`'s name is bytes `starts[i]` to `ends[i]` of `names[i]`: a view for each of millions of names would cost more than the names. */
  readonly names: Uint8Array[];
  readonly starts: number[];
  readonly ends: number[];
  readonly nids: number[];
  readonly types: number[];
  /** Room for the encoded directory, used again for the next one: a buffer for each of millions would cost more than the work. */
  buffer: Uint8Array<ArrayBuffer>;
};

const firstBufferBytes = 16 * blockBytes;

/** Where a directory's bytes are cut: whole blocks, then `tailBytes`. */
export type DirectoryShape = { readonly fullBlocks: number; readonly tailBytes: number };

const dotDotName = new Uint8Array([0x2e, 0x2e]);

export function createDirectoryEntries(): DirectoryEntries {
  return {
    count: 0,
    names: [],
    starts: [],
    ends: [],
    nids: [],
    types: [],
    buffer: new Uint8Array(firstBufferBytes),
  };
}

/** Whether entry `entry`'s name comes before `dots` dots. */
function isBeforeDots(names: Uint8Array, start: number, end: number, dots: number): boolean {
  for (let i = 0; i < dots; i++) {
    if (start + i === end) return true;
    if (names[start + i] !== 0x2e) return names[start + i] < 0x2e;
  }
  return false;
}

/** Adds up entries in blocks as `encodeDirectory` cuts them: an entry never crosses a block. */
class ShapeCounter {
  #full = 0;
  #used = 0;

  add(nameBytes: number): void {
    const bytes = format.bytes + nameBytes;
    if (this.#used + bytes > blockBytes) {
      this.#full++;
      this.#used = 0;
    }
    this.#used += bytes;
  }

  get shape(): DirectoryShape {
    return { fullBlocks: this.#full, tailBytes: this.#used };
  }
}

/** The shape of a directory with these names (in order, without dots), before any NID is known. */
export function directoryShape(names: readonly Uint8Array[]): DirectoryShape {
  const counter = new ShapeCounter();
  let dots = 1;
  for (const name of names) {
    while (dots <= 2 && !isBeforeDots(name, 0, name.length, dots)) counter.add(dots++);
    counter.add(name.length);
  }
  while (dots <= 2) counter.add(dots++);
  return counter.shape;
}

/** As `directoryShape`, straight from a listing. */
export function listingShape(view: TreeView, listing: Listing): DirectoryShape {
  const counter = new ShapeCounter();
  let dots = 1;
  for (let i = 0; i < listing.count; i++) {
    const { tree } = view.instances[listing.instance[i]];
    const entry = listing.entry[i];
    const start = nameStart(tree, entry);
    const end = tree.nameEnds[entry];
    while (dots <= 2 && !isBeforeDots(tree.names, start, end, dots)) counter.add(dots++);
    counter.add(end - start);
  }
  while (dots <= 2) counter.add(dots++);
  return counter.shape;
}

/** Fills `entries` from a listing; `reference` gives NID and dirent type of child `i`. */
export function fillEntries(
  entries: DirectoryEntries,
  view: TreeView,
  listing: Listing,
  nidOf: (i: number) => number,
  typeOf: (i: number) => number,
  dots: { readonly nid: number; readonly parentNid: number; readonly type: number },
): void {
  entries.count = 0;
  let next = 1;
  const addDots = (): void => {
    appendEntry(entries, dotDotName, 0, next, next === 1 ? dots.nid : dots.parentNid, dots.type);
    next++;
  };
  for (let i = 0; i < listing.count; i++) {
    const { tree } = view.instances[listing.instance[i]];
    const start = nameStart(tree, listing.entry[i]);
    const end = tree.nameEnds[listing.entry[i]];
    while (next <= 2 && !isBeforeDots(tree.names, start, end, next)) addDots();
    appendEntry(entries, tree.names, start, end, nidOf(i), typeOf(i));
  }
  while (next <= 2) addDots();
}

/** Adds an entry; entries are added in the order of their names. */
export function appendEntry(
  entries: DirectoryEntries,
  names: Uint8Array,
  start: number,
  end: number,
  nid: number,
  type: number,
): void {
  const i = entries.count++;
  entries.names[i] = names;
  entries.starts[i] = start;
  entries.ends[i] = end;
  entries.nids[i] = nid;
  entries.types[i] = type;
}

/**
 * The directory's bytes: whole blocks (each padded with zeros), then the tail. Linux `fs/erofs/dir.c`. Valid until the next call with
 * these entries.
 */
export function encodeDirectory(entries: DirectoryEntries, shape: DirectoryShape): Uint8Array {
  const length = shape.fullBlocks * blockBytes + shape.tailBytes;
  if (length > entries.buffer.length) entries.buffer = new Uint8Array(2 * length);
  const bytes = entries.buffer.subarray(0, length).fill(0);
  const view = new DataView(bytes.buffer);
  let first = 0;
  let block = 0;
  while (first < entries.count) {
    let end = first;
    let used = 0;
    while (end < entries.count) {
      const entryBytes = format.bytes + entries.ends[end] - entries.starts[end];
      if (used + entryBytes > blockBytes) break;
      used += entryBytes;
      end++;
    }
    let nameOffset = (end - first) * format.bytes;
    for (let i = first; i < end; i++) {
      const at = block + (i - first) * format.bytes;
      view.setUint32(at + format.nid, entries.nids[i], true);
      view.setUint16(at + format.nameOffset, nameOffset, true);
      bytes[at + format.fileType] = entries.types[i];
      const names = entries.names[i];
      for (let from = entries.starts[i]; from < entries.ends[i]; from++) bytes[block + nameOffset++] = names[from];
    }
    first = end;
    block += blockBytes;
  }
  return bytes;
}
