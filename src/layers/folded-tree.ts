import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { LayerTree, PackedNumbers } from "./layer-tree.ts";

/** Trees of fewer entries are not worth the work. */
const worthwhileEntries = 4096;

/** Compressed bytes come in pieces of at most this size. */
const pieceBytes = 1 << 18;

/**
 * Keeps a tree in a fraction of its memory until it is needed: numbers as differences, everything compressed. Returns what makes the
 * same tree again, to be called once. The tree given is used up: its buffers are freed at once, not when they are collected. A small
 * tree stays as it is.
 */
export function foldTree(tree: LayerTree): () => LayerTree {
  if (tree.entryCount < worthwhileEntries) return () => tree;
  // Without the columns, so that the closure holds none of them.
  const { names, nameEnds, entryInode, firstChild, attribute, linkCount, payload, targets, targetEnds, ...others } =
    tree;
  const { mtimeSeconds, mtimeNanoseconds, ...rest } = others;
  const folded = {
    names: foldColumn(names),
    nameEnds: foldColumn(nameEnds),
    entryInode: foldColumn(entryInode),
    firstChild: foldColumn(firstChild),
    attribute: foldColumn(attribute),
    linkCount: foldColumn(linkCount),
    payload: foldColumn(payload),
    targets: foldColumn(targets),
    targetEnds: foldColumn(targetEnds),
    mtimeSeconds: foldColumn(mtimeSeconds),
    mtimeNanoseconds: foldColumn(mtimeNanoseconds),
  };
  return () => ({
    ...rest,
    names: folded.names(),
    nameEnds: folded.nameEnds(),
    entryInode: folded.entryInode(),
    firstChild: folded.firstChild(),
    attribute: folded.attribute(),
    linkCount: folded.linkCount(),
    payload: folded.payload(),
    targets: folded.targets(),
    targetEnds: folded.targetEnds(),
    mtimeSeconds: folded.mtimeSeconds(),
    mtimeNanoseconds: folded.mtimeNanoseconds(),
  });
}

type ViewConstructor<View> = { new (buffer: ArrayBufferLike, byteOffset: number, length: number): View };

/** Compresses a column and frees it. */
function foldColumn<View extends PackedNumbers>(column: View): () => View {
  const { length, byteLength } = column;
  const Type = column.constructor as ViewConstructor<View>;
  if (column instanceof Uint32Array) toDifferences(column);
  let compressed: Uint8Array | undefined = compress(bytesOf(column));
  free(column);
  return () => {
    if (compressed === undefined) throw new Error("a tree is unfolded once");
    // One piece takes it all: the result is that piece, without a copy.
    const bytes = zstdDecompressSync(compressed, { chunkSize: Math.max(64, byteLength + 1) });
    free(compressed);
    compressed = undefined;
    const unfolded = new Type(bytes.buffer, bytes.byteOffset, length);
    if (unfolded instanceof Uint32Array) toSums(unfolded);
    return unfolded;
  };
}

function compress(bytes: Uint8Array): Uint8Array {
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const chunkSize = Math.min(pieceBytes, bytes.length + 64);
  // Copied: what zlib returns may be part of a larger buffer.
  return new Uint8Array(zstdCompressSync(bytes, { params, chunkSize }));
}

function bytesOf({ buffer, byteOffset, byteLength }: PackedNumbers): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Gives a buffer's memory back now. */
function free({ buffer, byteLength }: PackedNumbers): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** Most columns rise by small steps; modulo 2^32, so that those which do not come back as well. */
function toDifferences(numbers: Uint32Array): void {
  for (let i = numbers.length - 1; i > 0; i--) numbers[i] -= numbers[i - 1];
}

function toSums(numbers: Uint32Array): void {
  for (let i = 1; i < numbers.length; i++) numbers[i] += numbers[i - 1];
}
