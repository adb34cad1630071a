import type { DirectoryEntry } from "../../filesystem/erofs/reader/directory-block.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { type Inode, isDirectory, isRegular, isSymbolicLink } from "../../filesystem/erofs/reader/inode-parser.ts";
import { isDotEntry } from "../../filesystem/erofs/reader/lookup.ts";
import { type InodeAttributes, type LayerTree, noContent, packNumbers, type Xattr } from "../../layers/layer-tree.ts";
import { DiskError } from "../disk-error.ts";
import type { DiskReader } from "./disk-reader.ts";
import { GrowingArray } from "./growing-array.ts";
import { contentOfInode, contentOfPlainInode } from "./inode-content.ts";

/** A layer's tree as it lies on a disk. */
export type StoredLayerTree = {
  /**
   * The tree that was written. A disk does not record which directories a tar only implied: their `payload` is 0 and
   * `impliedDirectoryCount` too, which is the truth for every tree that stands under its diffID.
   */
  readonly tree: LayerTree;
  /** Of each content of the layer, in its order: its number in `DiskReader.files`. */
  readonly contents: Uint32Array;
};

const defaultMaxEntries = 10_000_000;

/**
 * Reads the tree at `path` (such as `layers/<hex>`). Throws `DiskError` `corrupt` when file data is not that of one content of
 * the disk, `limit` above `maxEntries` entries, and `ErofsError`. File contents are not read.
 */
export async function readLayerTree(
  disk: DiskReader,
  path: string,
  options: { readonly maxEntries?: number; readonly signal?: AbortSignal } = {},
): Promise<StoredLayerTree> {
  const reading = new LayerTreeReading(disk, path, options.maxEntries ?? defaultMaxEntries);
  await reading.walk(await disk.lookup(path), options.signal);
  return reading.finish();
}

/** Inodes in the order in which a breadth-first walk first meets them; entries refer to them by that number. */
class LayerTreeReading {
  readonly #disk: DiskReader;
  readonly #image: ErofsImage;
  readonly #path: string;
  readonly #maxEntries: number;
  readonly #names = new GrowingArray((length) => new Uint8Array(length));
  readonly #nameEnds = uint32s();
  readonly #entryMet = uint32s();
  readonly #firstChild = uint32s();
  readonly #nids = new GrowingArray((length) => new Float64Array(length));
  readonly #attribute = uint32s();
  readonly #mtimeSeconds = new GrowingArray((length) => new Float64Array(length));
  readonly #mtimeNanoseconds = uint32s();
  readonly #linkCount = uint32s();
  /** As in `LayerTree`, but content numbers are those of the disk. */
  readonly #payload = uint32s();
  /** 0 directory, 1 without content, 2 with content. */
  readonly #run = new GrowingArray((length) => new Uint8Array(length));
  readonly #targets = new GrowingArray((length) => new Uint8Array(length));
  readonly #targetEnds = uint32s();
  readonly #attributes: InodeAttributes[] = [];
  readonly #attributeNumbers = new Map<string, number>();
  readonly #linked = new Map<number, number>();
  readonly #directories: number[] = [];
  readonly #directoryNids = new Set<number>();

  constructor(disk: DiskReader, path: string, maxEntries: number) {
    this.#disk = disk;
    this.#image = disk.image;
    this.#path = path;
    this.#maxEntries = maxEntries;
  }

  async walk(root: Inode, signal: AbortSignal | undefined): Promise<void> {
    await this.#addEntry(new Uint8Array(0), root);
    for (let d = 0; d < this.#directories.length; d++) {
      signal?.throwIfAborted();
      this.#firstChild.push(this.#nameEnds.length);
      const directory = await this.#image.inode(this.#nids.at(this.#directories[d]));
      for await (const { entries } of this.#image.directoryBlocks(directory)) {
        for (const entry of entries) {
          if (isDotEntry(entry)) continue;
          const known = this.#linked.get(entry.nid);
          const waits = known === undefined ? this.#addEntryOf(entry) : this.#addName(entry.name, known);
          if (waits !== undefined) await waits;
        }
      }
    }
    this.#firstChild.push(this.#nameEnds.length);
  }

  /** Waits only for what is not at hand: most inodes are, and need nothing else. */
  #addEntryOf({ name, nid }: DirectoryEntry): Promise<void> | undefined {
    const inode = this.#image.cachedInode(nid);
    if (inode === undefined) return this.#image.inode(nid).then((read) => this.#addEntry(name, read));
    const payload = inode.xattrBytes === 0 ? this.#payloadAtHand(inode) : undefined;
    if (payload === undefined) return this.#addEntry(name, inode);
    this.#addInode(name, inode, this.#attributeNumber(inode, []), payload);
    return undefined;
  }

  async #addEntry(name: Uint8Array, inode: Inode): Promise<void> {
    const attribute = this.#attributeNumber(inode, await this.#image.xattrs(inode));
    this.#addInode(name, inode, attribute, this.#payloadAtHand(inode) ?? (await this.#readPayload(inode)));
  }

  #addInode(name: Uint8Array, inode: Inode, attribute: number, payload: number): void {
    const met = this.#nids.push(inode.nid);
    this.#addName(name, met);
    this.#attribute.push(attribute);
    this.#mtimeSeconds.push(inode.mtimeSeconds);
    this.#mtimeNanoseconds.push(inode.mtimeNanoseconds);
    this.#linkCount.push(inode.linkCount);
    this.#payload.push(payload);
    if (isDirectory(inode)) {
      if (this.#directoryNids.has(inode.nid)) {
        throw new DiskError(
          "corrupt",
          `${this.#image.source.name}: ${this.#path} has a directory with two places in it`,
        );
      }
      this.#directoryNids.add(inode.nid);
      this.#directories.push(met);
      this.#run.push(0);
      return;
    }
    if (inode.linkCount > 1) this.#linked.set(inode.nid, met);
    this.#run.push(isRegular(inode) && inode.sizeBytes > 0 ? 2 : 1);
  }

  #addName(name: Uint8Array, met: number): undefined {
    if (this.#nameEnds.length >= this.#maxEntries) {
      throw new DiskError(
        "limit",
        `${this.#image.source.name}: ${this.#path} has more than ${this.#maxEntries} entries`,
      );
    }
    this.#names.append(name);
    this.#nameEnds.push(this.#names.length);
    this.#entryMet.push(met);
  }

  #payloadAtHand(inode: Inode): number | undefined {
    if (isDirectory(inode)) return 0;
    if (isRegular(inode)) return inode.sizeBytes === 0 ? noContent : contentOfPlainInode(inode, this.#disk.files);
    return isSymbolicLink(inode) ? undefined : inode.union;
  }

  async #readPayload(inode: Inode): Promise<number> {
    if (isRegular(inode)) return contentOfInode(this.#image, inode, this.#disk.files);
    this.#targets.append(await this.#image.linkTarget(inode));
    return this.#targetEnds.push(this.#targets.length);
  }

  #attributeNumber({ mode, uid, gid }: Inode, xattrs: readonly Xattr[]): number {
    const key = `${mode} ${uid} ${gid}${xattrs.map(({ name, value }) => ` ${hex(name)}=${hex(value)}`).join("")}`;
    let number = this.#attributeNumbers.get(key);
    if (number === undefined) {
      const copies = xattrs.map(({ name, value }) => ({ name: Uint8Array.from(name), value: Uint8Array.from(value) }));
      copies.sort((a, b) => Buffer.compare(a.name, b.name));
      number = this.#attributes.push({ mode, uid, gid, xattrs: copies }) - 1;
      this.#attributeNumbers.set(key, number);
    }
    return number;
  }

  finish(): StoredLayerTree {
    const { order, contents, contentNumber } = this.#inodeOrder();
    const inodeOfMet = new Uint32Array(order.length);
    for (let i = 0; i < order.length; i++) inodeOfMet[order[i]] = i;
    const take = (from: GrowingArray<Uint32Array>) => Uint32Array.from(order, (met) => from.at(met));
    const tree: LayerTree = {
      entryCount: this.#nameEnds.length,
      names: this.#names.finish(),
      nameEnds: this.#nameEnds.finish(),
      entryInode: this.#entryMet.finish().map((met) => inodeOfMet[met]),
      inodeCount: order.length,
      directoryCount: this.#directories.length,
      firstChild: this.#firstChild.finish(),
      attribute: packNumbers(take(this.#attribute)),
      attributes: this.#attributes,
      mtimeSeconds: packNumbers(Float64Array.from(order, (met) => this.#mtimeSeconds.at(met))),
      mtimeNanoseconds: packNumbers(take(this.#mtimeNanoseconds)),
      linkCount: packNumbers(take(this.#linkCount)),
      payload: Uint32Array.from(order, (met) =>
        this.#run.at(met) === 2 ? (contentNumber.get(this.#payload.at(met)) ?? noContent) : this.#payload.at(met),
      ),
      targets: this.#targets.finish(),
      targetEnds: this.#targetEnds.finish(),
      impliedDirectoryCount: 0,
    };
    return { tree, contents };
  }

  /** Directories, then what has no content, then files by content; nids tell the order of contents. */
  #inodeOrder(): { order: Uint32Array; contents: Uint32Array; contentNumber: Map<number, number> } {
    const count = this.#nids.length;
    const order = new Uint32Array(count);
    let end = 0;
    for (let met = 0; met < count; met++) if (this.#run.at(met) === 0) order[end++] = met;
    for (let met = 0; met < count; met++) if (this.#run.at(met) === 1) order[end++] = met;
    const files = order.subarray(end);
    for (let met = 0; met < count; met++) if (this.#run.at(met) === 2) order[end++] = met;
    files.sort((a, b) => this.#nids.at(a) - this.#nids.at(b));
    const contents = uint32s();
    const contentNumber = new Map<number, number>();
    for (const met of files) {
      const content = this.#payload.at(met);
      if (!contentNumber.has(content)) contentNumber.set(content, contents.push(content));
    }
    const numberOf = (met: number) => contentNumber.get(this.#payload.at(met)) ?? 0;
    files.sort((a, b) => numberOf(a) - numberOf(b) || a - b);
    return { order, contents: contents.finish(), contentNumber };
  }
}

function uint32s(): GrowingArray<Uint32Array> {
  return new GrowingArray((length) => new Uint32Array(length));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
