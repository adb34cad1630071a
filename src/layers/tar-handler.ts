import type { LayerApplier } from "./apply/layer-applier.ts";
import type { ContentWriter } from "./content-writer.ts";
import { LayerError, limitError, printableName } from "./layer-error.ts";
import type { LayerLimits } from "./limits.ts";
import type { TarEntry, TarHandler } from "./tar/tar-entry.ts";

/** Sends entries to the tree and the data of files to the contents. */
export class LayerTarHandler implements TarHandler {
  readonly #applier: LayerApplier;
  readonly #writer: ContentWriter;
  readonly #limits: LayerLimits;
  #entryCount = 0;
  #takesData = false;

  constructor(applier: LayerApplier, writer: ContentWriter, limits: LayerLimits) {
    this.#applier = applier;
    this.#writer = writer;
    this.#limits = limits;
  }

  /** Entries so far. */
  get entryCount(): number {
    return this.#entryCount;
  }

  get paused(): boolean {
    return this.#writer.busy;
  }

  entry(entry: TarEntry): void {
    if (++this.#entryCount > this.#limits["layer-entries"])
      throw limitError("layer-entries", this.#limits["layer-entries"], "the number of the layer's entries");
    const inode = this.#applier.apply(entry);
    this.#takesData = inode !== undefined && entry.sizeBytes > 0;
    if (inode === undefined || entry.sizeBytes === 0) return;
    if (entry.sizeBytes > this.#limits["file-bytes"])
      throw limitError(
        "file-bytes",
        this.#limits["file-bytes"],
        `tar entry ${printableName(entry.name)}: its size of ${entry.sizeBytes} bytes`,
      );
    if (!Number.isSafeInteger(entry.sizeBytes))
      throw new LayerError("refused-entry", `tar entry ${printableName(entry.name)}: its size is out of range`);
    this.#writer.begin(entry.sizeBytes, entry.sparse, (content) => this.#applier.setContent(inode, content));
  }

  data(piece: Uint8Array): void {
    if (this.#takesData) this.#writer.write(piece);
  }

  endEntry(): void {
    if (this.#takesData) this.#writer.end();
    this.#takesData = false;
  }
}
