import { hash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { ContentSink } from "../../src/layers/content.ts";
import { chunkBytes } from "../../src/layers/content.ts";
import { fileType, type LayerTree, noContent } from "../../src/layers/layer-tree.ts";
import { layerLimits } from "../../src/layers/limits.ts";
import { type LayerResult, readLayer } from "../../src/layers/read-layer.ts";
import type { Digest } from "../../src/oci/descriptor.ts";
import { limitValues } from "../../src/oci/limit.ts";

/** Keeps the contents of a layer in memory, by the numbers that the sink's contract gives them. */
export class MemorySink implements ContentSink {
  /** Per content its bytes, holes as zeros. */
  readonly contents: Buffer[] = [];
  /** Per content the digest or key that was given. */
  readonly keys: string[] = [];
  /** Chunks without bytes. */
  holes = 0;
  readyCalls = 0;
  #room = Buffer.alloc(0);
  #large: { sizeBytes: number; chunks: Buffer[] } | undefined;

  small(digest: Uint8Array, data: Uint8Array): void {
    if (this.#large !== undefined) throw new Error("a small content came within a large one");
    if (data.length === 0 || data.length > chunkBytes) throw new Error(`a small content has ${data.length} bytes`);
    this.keys.push(Buffer.from(digest).toString("hex"));
    this.contents.push(Buffer.from(data));
    this.#endRoom();
  }

  beginLarge(sizeBytes: number): void {
    if (this.#large !== undefined) throw new Error("a large content came within another");
    this.#large = { sizeBytes, chunks: [] };
    this.#endRoom();
  }

  chunk(digest: Uint8Array, data: Uint8Array | undefined): void {
    if (this.#large === undefined) throw new Error("a chunk came without content");
    const { sizeBytes, chunks } = this.#large;
    const size = Math.min(chunkBytes, sizeBytes - chunks.length * chunkBytes);
    if (data !== undefined && (data.length !== size || !hash("sha256", data, "buffer").equals(digest)))
      throw new Error("a chunk has a wrong size or digest");
    if (data === undefined) this.holes++;
    chunks.push(data === undefined ? Buffer.alloc(size) : Buffer.from(data));
    this.#endRoom();
  }

  endLarge(key: Uint8Array, isNew: boolean): void {
    if (this.#large === undefined) throw new Error("a content ends that did not begin");
    if (isNew) {
      this.keys.push(Buffer.from(key).toString("hex"));
      this.contents.push(Buffer.concat(this.#large.chunks));
    }
    this.#large = undefined;
    this.#endRoom();
  }

  room(sizeBytes: number): Uint8Array {
    this.#endRoom();
    this.#room = Buffer.alloc(sizeBytes, 0xdd);
    return this.#room;
  }

  /** Whoever goes on with the room after that finds and gives wrong bytes. */
  #endRoom(): void {
    this.#room.fill(0xee);
  }

  async ready(): Promise<void> {
    this.readyCalls++;
  }
}

export type ReadTarOptions = {
  readonly limits?: Readonly<Record<string, number>>;
  readonly isBase?: boolean;
  readonly mediaType?: string;
  /** Bytes in one piece of the input. */
  readonly pieceBytes?: number;
  /** All pieces lie in the same memory, shared with other threads: what is not compressed may be looked at until the next piece is asked for. */
  readonly reusesPieces?: boolean;
};

export type ReadTar = LayerResult & { readonly sink: MemorySink };

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${hash("sha256", bytes, "hex")}`;
}

export async function* pieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function* reusedPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(new SharedArrayBuffer(pieceBytes));
  for await (const piece of pieces(bytes, pieceBytes)) {
    memory.set(piece);
    yield memory.subarray(0, piece.length);
    memory.fill(0xa5);
  }
}

/** Reads an uncompressed tar as a layer. */
export async function readTar(tar: Uint8Array, options: ReadTarOptions = {}): Promise<ReadTar> {
  return readStored(tar, sha256(tar), options);
}

/** Reads a layer as stored, perhaps compressed. */
export async function readStored(stored: Uint8Array, diffID: Digest, options: ReadTarOptions = {}): Promise<ReadTar> {
  const sink = new MemorySink();
  const result = await readLayer({
    input: (options.reusesPieces ? reusedPieces : pieces)(stored, options.pieceBytes ?? 1 << 16),
    descriptor: {
      mediaType: options.mediaType ?? "application/vnd.oci.image.layer.v1.tar",
      digest: sha256(stored),
      size: stored.length,
    },
    diffID,
    sink,
    limits: limitValues(layerLimits, options.limits),
    signal: new AbortController().signal,
    ...(options.isBase === undefined ? {} : { isBase: options.isBase }),
  });
  return { ...result, sink };
}

export function gzipLayer(tar: Uint8Array, options: ReadTarOptions = {}): Promise<ReadTar> {
  return readStored(gzipSync(tar), sha256(tar), options);
}

export type ShownEntry = {
  readonly path: string;
  readonly inode: number;
  readonly type: "directory" | "file" | "link" | "character" | "block" | "fifo";
  readonly mode: string;
  readonly owner: string;
  /** Seconds, with nine decimals where there are any. */
  readonly mtime: string;
  readonly links: number;
  readonly xattrs: Readonly<Record<string, string>>;
  /** Digest of a file's bytes, target of a link, `rdev` of a device, `implied` for such directories. */
  readonly payload: string;
};

const typeNames: Readonly<Record<number, ShownEntry["type"]>> = {
  [fileType.directory]: "directory",
  [fileType.regular]: "file",
  [fileType.symbolicLink]: "link",
  [fileType.characterDevice]: "character",
  [fileType.blockDevice]: "block",
  [fileType.fifo]: "fifo",
};

/** The entries of a tree by path (latin1, `/` for the root), as people read them. */
export function showTree(tree: LayerTree, contents: readonly Buffer[]): Map<string, ShownEntry> {
  const shown = new Map<string, ShownEntry>();
  const visit = (entry: number, path: string): void => {
    const inode = tree.entryInode[entry] as number;
    const attributes = tree.attributes[tree.attribute[inode] as number];
    if (attributes === undefined) throw new Error(`inode ${inode} has no attributes`);
    const type = typeNames[attributes.mode & fileType.mask];
    if (type === undefined) throw new Error(`inode ${inode} has no known type`);
    const nanoseconds = tree.mtimeNanoseconds[inode] as number;
    const seconds = String(tree.mtimeSeconds[inode]);
    shown.set(path === "" ? "/" : path, {
      path,
      inode,
      type,
      mode: (attributes.mode & 0o7777).toString(8).padStart(4, "0"),
      owner: `${attributes.uid}:${attributes.gid}`,
      mtime: nanoseconds === 0 ? seconds : `${seconds}.${String(nanoseconds).padStart(9, "0")}`,
      links: tree.linkCount[inode] as number,
      xattrs: Object.fromEntries(
        attributes.xattrs.map(({ name, value }) => [
          Buffer.from(name).toString("latin1"),
          Buffer.from(value).toString("latin1"),
        ]),
      ),
      payload: payloadOf(tree, inode, type, contents),
    });
    if (type !== "directory") return;
    for (let child = tree.firstChild[inode] as number; child < (tree.firstChild[inode + 1] as number); child++) {
      const name = Buffer.from(tree.names.subarray(tree.nameEnds[child - 1], tree.nameEnds[child])).toString("latin1");
      visit(child, path === "" ? name : `${path}/${name}`);
    }
  };
  visit(0, "");
  return shown;
}

function payloadOf(tree: LayerTree, inode: number, type: ShownEntry["type"], contents: readonly Buffer[]): string {
  const payload = tree.payload[inode] as number;
  switch (type) {
    case "file":
      return payload === noContent ? "" : sha256(contents[payload] as Buffer);
    case "link":
      return Buffer.from(
        tree.targets.subarray(payload === 0 ? 0 : tree.targetEnds[payload - 1], tree.targetEnds[payload]),
      ).toString("latin1");
    case "directory":
      return payload === 1 ? "implied" : "";
    case "character":
    case "block":
      return String(payload);
    default:
      return "";
  }
}
