import { createHash } from "node:crypto";
import { chainIDs } from "../disk/build/chain.ts";
import type { Digest, Platform } from "../oci/descriptor.ts";
import { OciError } from "../oci/oci-error.ts";
import { hostPlatform } from "../oci/platform.ts";
import type { ResolvedImage } from "../oci/resolved-image.ts";
import type {
  FetchOptions,
  FetchReport,
  ImageChange,
  ImageFolders,
  ImageKeeper,
  ImageObservation,
  NodeContent,
  NodeImage,
} from "./image-keeper.ts";
import { type MemoryImage, MemoryImages, type MemoryRecord } from "./memory-images.ts";
import { type MemoryMethod, MemoryOthers } from "./memory-others.ts";
import { MemoryRuntime } from "./memory-runtime.ts";
import { RuntimeError } from "./runtime-error.ts";

/** One node in memory: its disks, its images, and what others do to it. */
export type MemoryNode = {
  readonly runtime: MemoryRuntime;
  readonly images: MemoryImageKeeper;
  readonly others: MemoryOthers;
};

export function makeMemoryNode(name = "memory"): MemoryNode {
  const images = new MemoryImages();
  const others = new MemoryOthers(name, images);
  return {
    runtime: new MemoryRuntime(name, images),
    images: new MemoryImageKeeper(name, images, others),
    others,
  };
}

/** The most bytes that are asked for at once. */
const pieceBytes = 4 << 20;

/** Keeps the contract of `ImageKeeper` over the images of a `MemoryRuntime`. Layers are read and verified, and forgotten. */
export class MemoryImageKeeper implements ImageKeeper {
  readonly name: string;
  readonly platform: Platform = hostPlatform();
  readonly fetchedBy = "nodewarm";
  readonly folders: ImageFolders = { blobs: "/memory/blobs", snapshots: "/memory/snapshots" };
  readonly #images: MemoryImages;
  readonly #others: MemoryOthers;
  #isClosed = false;

  constructor(name: string, images: MemoryImages, others: MemoryOthers) {
    this.name = name;
    this.#images = images;
    this.#others = others;
  }

  async observe({ signal }: { readonly signal: AbortSignal }): Promise<ImageObservation> {
    this.#mustWork("observe", signal);
    // An image is pinned when one of its records is.
    const pinned = new Set([...this.#images.records.values()].flatMap((each) => (each.isPinned ? [each.digest] : [])));
    const images = [...this.#images.records].map(([name, record]): NodeImage => {
      const { digest } = record;
      return { name, digest, origin: originOf(record), isPinned: pinned.has(digest) };
    });
    const contents = new Map<Digest, NodeContent>();
    for (const { digest } of images) {
      const missing = this.#images.missing(digest);
      contents.set(digest, { digest, isWarm: missing === "", missing, users: this.#images.usersOf(digest) });
    }
    return { images, contents };
  }

  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<ImageChange> {
    return this.#others.changes(signal);
  }

  async fetch(image: ResolvedImage, repository: string, options: FetchOptions): Promise<FetchReport> {
    this.#mustWork("fetch", options.signal);
    const { digest } = image.target;
    const name = `${repository}@${digest}`;
    const isThere = this.#images.missing(digest) === "";
    const memory = memoryImage(image);
    const missing = memory.layers.flatMap(({ chainID }, i) =>
      isThere || this.#images.hasSnapshot(chainID) ? [] : [{ index: i, size: image.layers[i]?.descriptor.size ?? 0 }],
    );
    const onDisk = memory.layers.map(({ chainID }, i) => {
      const isTaken = !missing.some(({ index }) => index === i) && this.#images.isOnDisk(chainID);
      return isTaken ? (image.layers[i]?.descriptor.size ?? 0) : 0;
    });
    const total = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const present = total - missing.reduce((sum, { size }) => sum + size, 0);
    let fetched = 0;
    let unpacked = present;
    const tell = () =>
      options.onProgress?.({
        fetchedBytes: fetched,
        presentBytes: present,
        unpackedBytes: unpacked,
        totalBytes: total,
      });
    tell();
    for (const { index, size } of missing) {
      for (const bytes of await readLayer(image, index, options)) {
        fetched += bytes;
        tell();
      }
      this.#mustWork("fetch", options.signal);
      unpacked += size;
      tell();
    }
    if (!isThere) this.#images.addOwn(memory, true);
    const record = this.#images.records.get(name);
    const isNamed = record?.digest === digest;
    this.#name(name, digest);
    return {
      result: isThere && isNamed ? "present" : "fetched",
      fetchedBytes: fetched,
      diskBytes: onDisk.reduce((sum, size) => sum + size, 0),
      fetchedLayers: missing.length,
      presentLayers: image.layers.length - missing.length,
      conditions: [],
    };
  }

  async setName(name: string, digest: Digest, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#mustWork("setName", signal);
    const missing = this.#images.missing(digest);
    if (missing !== "")
      throw new RuntimeError("failed-precondition", `${name} is not set to ${digest} on ${this.name}: ${missing}`);
    this.#name(name, digest);
  }

  async release(name: string, how: "remove" | "unpin", { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#mustWork("release", signal);
    const record = this.#images.records.get(name);
    if (record === undefined) return;
    const isOurs = record.disk !== undefined || record.isFetched;
    if (isOurs && how === "remove") {
      this.#images.removeRecord(name);
      this.#images.collectGarbage();
    } else if (isOurs || record.isPinned) this.#images.setTag(name, record.digest);
  }

  async cutOff(disk: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#mustWork("cutOff", signal);
    this.#images.handOver([disk], this.#images.mountedBeside(disk));
    this.#images.setAway(disk, true);
  }

  async tidy({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** A name that others set to this digest stays theirs, and is pinned. */
  #name(name: string, digest: Digest): void {
    const before = this.#images.records.get(name);
    const records = [...this.#images.records.values()];
    if (before?.digest === digest && records.some((each) => each.digest === digest && each.isPinned)) return;
    const disk = this.#images.targets.get(digest)?.disk;
    const record: MemoryRecord =
      before?.digest === digest
        ? { ...before, isPinned: true }
        : { digest, disk, isFetched: disk === undefined, isPinned: true };
    this.#images.setRecord(name, record);
  }

  #mustWork(method: MemoryMethod, signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#isClosed) throw new RuntimeError("cancelled", `${this.name} is closed`);
    this.#others.meet(method);
  }
}

function originOf({ disk, isFetched }: Readonly<MemoryRecord>): NodeImage["origin"] {
  if (disk !== undefined) return { from: "disk", disk };
  return isFetched ? { from: "fetch" } : { from: "elsewhere" };
}

export function memoryImage({ target, layers }: ResolvedImage): MemoryImage {
  const ids = chainIDs(layers.map(({ diffID }) => diffID));
  return { target, tree: null, layers: ids.map((chainID) => ({ chainID, tree: "" })) };
}

/** Sizes of the pieces that came. Throws `OciError` for other bytes than the descriptor's. */
async function readLayer(image: ResolvedImage, index: number, options: FetchOptions): Promise<number[]> {
  const { signal, admit } = options;
  const descriptor = image.layers[index]?.descriptor;
  const hash = createHash("sha256");
  const sizes: number[] = [];
  let admitted = 0;
  let read = 0;
  for await (const piece of image.openLayer(index, { signal })) {
    read += piece.length;
    for (; admitted < read; admitted += pieceBytes)
      await admit?.(Math.min(pieceBytes, (descriptor?.size ?? read) - admitted));
    signal.throwIfAborted();
    hash.update(piece);
    sizes.push(piece.length);
  }
  signal.throwIfAborted();
  if (read !== descriptor?.size)
    throw new OciError("size-mismatch", `layer ${descriptor?.digest} has ${read} bytes instead of ${descriptor?.size}`);
  if (`sha256:${hash.digest("hex")}` !== descriptor.digest)
    throw new OciError("digest-mismatch", `the bytes of layer ${descriptor.digest} have another digest`);
  return sizes;
}
