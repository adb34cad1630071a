import { createHash } from "node:crypto";
import { handleSource, openHandle } from "../../../filesystem/byte-source.ts";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../../layers/content.ts";
import type { LayerTree } from "../../../layers/layer-tree.ts";
import { type Descriptor, type Digest, digestHex } from "../../../oci/descriptor.ts";
import { areaKind } from "../../files-format.ts";
import type { DiskIndex } from "../../reader/disk-index.ts";
import { DiskReader } from "../../reader/disk-reader.ts";
import { readLayerTree } from "../../reader/layer-tree-reader.ts";
import { verifyAreas } from "../../reader/verify-areas.ts";
import type { ContentStore } from "../contents/content-store.ts";
import type { DistinctLayer } from "../layers/distinct-layers.ts";
import type { PartialFile } from "../partial-file.ts";
import { BlockCopier } from "./block-copier.ts";
import { storeOldContents } from "./old-contents.ts";
import { withImpliedDirectories } from "./restore-implied.ts";
import { readingOld } from "./unreadable.ts";

type IndexLayer = DiskIndex["images"][number]["layers"][number];

/**
 * The disk that `--from` names. Nothing of it is used unchecked: the metadata against its digests when it is opened, contents and
 * blobs when they are read.
 */
export class OldDisk {
  readonly #disk: DiskReader;
  readonly #copier: BlockCopier;
  #isCopying = false;
  readonly #layers: ReadonlyMap<string, IndexLayer>;

  private constructor(disk: DiskReader, copier: BlockCopier) {
    this.#disk = disk;
    this.#copier = copier;
    this.#layers = new Map(
      disk.index.images.flatMap(({ layers }) =>
        layers.filter(({ inherits }) => !inherits).map((layer): [string, IndexLayer] => [layer.diffID, layer]),
      ),
    );
  }

  /**
   * For one build; `signal` holds for all of it. Close it afterwards. Throws `DiskError` or `ErofsError` when `path` cannot be read, is no disk,
   * has an unknown format version, or is damaged.
   */
  static open(path: string, signal: AbortSignal): Promise<OldDisk> {
    return readingOld(path, () => OldDisk.#open(path, signal));
  }

  static async #open(path: string, signal: AbortSignal): Promise<OldDisk> {
    const handle = await openHandle(path);
    let copier: BlockCopier | undefined;
    try {
      copier = new BlockCopier(path, handle.fd, signal);
      const disk = await DiskReader.open(await handleSource(path, handle));
      await verifyAreas(disk, [areaKind.metadata, areaKind.index], signal, "build without --from");
      return new OldDisk(disk, copier);
    } catch (error) {
      await copier?.stop();
      await handle.close();
      throw error;
    }
  }

  /** Whether the disk has the layer's tree as a new build would read it; see `DistinctLayer.isBase`. */
  has({ diffID, isBase }: Pick<DistinctLayer, "diffID" | "isBase">): boolean {
    const layer = this.#layers.get(diffID);
    return layer !== undefined && (layer.whiteouts === undefined || (layer.whiteouts === "applied") === isBase);
  }

  /**
   * The tree of a layer that the disk has, as the layer's tar gives it. Stores those of its contents that `contents` lacks; payloads
   * of its files number the contents in the layer's order. The bytes are copied meanwhile and later: what is wrong with them the next
   * call says, or `file` when it is read or committed.
   */
  async readLayer(diffID: Digest, contents: ContentStore, file: PartialFile, signal: AbortSignal): Promise<LayerTree> {
    const layer = this.#layers.get(diffID);
    if (layer === undefined) throw new Error(`layer ${diffID} is not on the older disk`);
    const stored = await readingOld(this.#disk.source.name, () => readLayerTree(this.#disk, layer.tree, { signal }));
    await storeOldContents(this.#disk, stored.contents, contents, this.#copierTo(file), signal);
    const tree = withImpliedDirectories(stored.tree, layer.impliedDirectories ?? []);
    return layer.whiteouts === undefined ? tree : { ...tree, whiteouts: layer.whiteouts };
  }

  #copierTo(file: PartialFile): BlockCopier {
    if (!this.#isCopying) file.lend(this.#copier);
    this.#isCopying = true;
    return this.#copier;
  }

  /** Copies a blob to `position` of `file`; false when the disk lacks it, or has other bytes. What is read stays in the page cache. */
  async copyBlob(descriptor: Descriptor, file: PartialFile, position: number, signal: AbortSignal): Promise<boolean> {
    const isThere = await this.#disk.lookup(`blobs/sha256/${digestHex(descriptor.digest)}`).catch(() => undefined);
    if (isThere === undefined || isThere.sizeBytes !== descriptor.size) return false;
    const digest = createHash("sha256");
    const buffer = new Uint8Array(Math.min(chunkBytes, descriptor.size));
    for (let done = 0; done < descriptor.size; done += buffer.length) {
      signal.throwIfAborted();
      const piece = buffer.subarray(0, Math.min(buffer.length, descriptor.size - done));
      const { source } = this.#disk;
      await readingOld(source.name, () => source.read(isThere.union * blockBytes + done, piece));
      digest.update(piece);
      await file.write(piece, position + done);
    }
    return `sha256:${digest.digest("hex")}` === descriptor.digest;
  }

  async close(): Promise<void> {
    await this.#copier.stop();
    await this.#disk.close();
  }
}
