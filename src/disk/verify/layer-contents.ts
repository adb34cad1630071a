import { hash } from "node:crypto";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { type Inode, isDirectory, isRegular } from "../../filesystem/erofs/reader/inode-parser.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import { GrowingArray } from "../reader/growing-array.ts";
import { contentOfInode } from "../reader/inode-content.ts";

/** Gathers which contents the inodes of layer trees have, and compares their order with that of the disk. */
export class LayerContents {
  readonly #disk: DiskReader;
  readonly #problems: ProblemList;
  readonly #byTree = new Map<string, Uint32Array>();
  #nids = float64s();
  #contents = uint32s();
  #highestOtherNid = -1;
  fileBytes = 0;
  inodeCount = 0;

  constructor(disk: DiskReader, problems: ProblemList) {
    this.#disk = disk;
    this.#problems = problems;
  }

  /** An inode of the tree that is being walked. Throws `DiskError` when its data is no content of the disk. */
  async add(inode: Inode): Promise<void> {
    this.inodeCount++;
    // Directories fill gaps between other inodes.
    if (isDirectory(inode)) return;
    if (!isRegular(inode) || inode.sizeBytes === 0) {
      this.#highestOtherNid = Math.max(this.#highestOtherNid, inode.nid);
      return;
    }
    this.fileBytes += inode.sizeBytes;
    const content = await contentOfInode(this.#disk.image, inode, this.#disk.files);
    this.#nids.push(inode.nid);
    this.#contents.push(content);
  }

  /** The tree at `path`, such as `layers/<hex>`, is complete. */
  endTree(path: string): void {
    const nids = this.#nids.finish();
    const contents = this.#contents.finish();
    const order = Uint32Array.from(nids, (_, i) => i).sort((a, b) => nids[a] - nids[b]);
    if (order.length > 0 && nids[order[0]] < this.#highestOtherNid) {
      this.#problems.add(`/${path}`, "inodes with content do not come last");
    }
    const seen = new Set<number>();
    for (const i of order) seen.add(contents[i]);
    this.#byTree.set(path, Uint32Array.from(seen));
    this.#nids = float64s();
    this.#contents = uint32s();
    this.#highestOtherNid = -1;
  }

  /** The contents of a tree in the order of its layer; undefined when there is no such tree. */
  ofTree(path: string): Uint32Array | undefined {
    return this.#byTree.get(path);
  }

  /**
   * Contents must stand in the order in which `trees` (one for each layer, by diffID) first have them, and each must be
   * in use.
   */
  checkOrder(trees: readonly string[]): void {
    const { files } = this.#disk;
    const seen = new Uint8Array(files.contentCount);
    let used = 0;
    let next = -1;
    for (const tree of trees) {
      for (const content of this.#byTree.get(tree) ?? []) {
        if (seen[content] === 1) continue;
        seen[content] = 1;
        used++;
        const block = files.firstBlock(content);
        if (next !== -1 && block !== next) {
          this.#problems.add(
            `/${tree}`,
            `its contents do not stand in the order of the format: block ${block}, not ${next}`,
          );
          if (this.#problems.isFull) return;
        }
        next = block + files.blockCount(content);
      }
    }
    if (used !== files.contentCount) {
      this.#problems.add("/nodewarm.files", `${files.contentCount - used} contents belong to no file of a layer`);
    }
    this.#checkDistinct();
  }

  /** Reports contents that are there twice. */
  #checkDistinct(): void {
    const { files } = this.#disk;
    const slotCount = 2 ** Math.ceil(Math.log2(files.smallCount * 2 + 1));
    // Content number + 1, at the place that the digest's first bytes say or the next free one.
    const slots = new Uint32Array(slotCount);
    for (let content = 0; content < files.smallCount; content++) {
      const digest = files.smallDigest(content);
      let slot = digest.readUInt32LE(0) % slotCount;
      while (slots[slot] !== 0 && !files.smallDigest(slots[slot] - 1).equals(digest)) slot = (slot + 1) % slotCount;
      if (slots[slot] !== 0)
        this.#problems.add("/nodewarm.files", `the content ${digest.toString("hex")} is there twice`);
      if (this.#problems.isFull) return;
      slots[slot] = content + 1;
    }
    const large = new Set<string>();
    for (let content = files.smallCount; content < files.contentCount; content++) {
      const key = `${files.sizeBytes(content)} ${hash("sha256", files.chunkDigests(content), "hex")}`;
      if (large.has(key)) {
        this.#problems.add("/nodewarm.files", `large content ${content - files.smallCount} is there twice`);
      }
      large.add(key);
    }
  }
}

function uint32s(): GrowingArray<Uint32Array> {
  return new GrowingArray((length) => new Uint32Array(length));
}

function float64s(): GrowingArray<Float64Array> {
  return new GrowingArray((length) => new Float64Array(length));
}
