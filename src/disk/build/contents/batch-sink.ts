import type { ContentSink } from "../../../layers/content.ts";
import { untilAborted } from "../../../oci/until-aborted.ts";
import { BatchWriter } from "./batch-writer.ts";
import { batchBytes, batchKind, type ContentBatch } from "./content-batch.ts";

/** Batches that may be given and not taken: how far a layer runs ahead of what writes its contents, 4 MiB. */
const batchesAhead = 4;

/** Packs the contents of layers, one layer after the other, into batches for `emit`, and is not ready while too many are not taken. */
export class BatchSink implements ContentSink {
  readonly #writer: BatchWriter;
  readonly #spare: Uint8Array[] = [];
  #out = 0;
  #wake: (() => void) | undefined;
  readonly #signal: AbortSignal;

  /**
   * `allocate` makes a buffer of `batchBytes`, where none that was taken is there to be used again. When `signal` aborts, who waits
   * for `ready` gets its reason: nobody may take batches any more.
   */
  constructor(emit: (batch: ContentBatch) => void, allocate: () => Uint8Array, signal: AbortSignal) {
    this.#signal = signal;
    this.#writer = new BatchWriter(
      (batch) => {
        this.#out++;
        emit(batch);
      },
      () => this.#spare.pop() ?? allocate(),
    );
  }

  small(digest: Uint8Array, data: Uint8Array): void {
    this.#writer.add(batchKind.small, data.length, digest, data);
  }

  beginLarge(sizeBytes: number): void {
    this.#writer.add(batchKind.beginLarge, sizeBytes);
  }

  chunk(digest: Uint8Array, data: Uint8Array | undefined): void {
    if (data === undefined) this.#writer.add(batchKind.hole, 0, digest);
    else this.#writer.add(batchKind.chunk, data.length, digest, data);
  }

  endLarge(key: Uint8Array, isNew: boolean): void {
    this.#writer.add(isNew ? batchKind.endLarge : batchKind.endRepeated, 0, key);
  }

  room(sizeBytes: number): Uint8Array {
    return this.#writer.room(sizeBytes);
  }

  async ready(): Promise<void> {
    while (this.#out >= batchesAhead) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await untilAborted(promise, this.#signal);
    }
  }

  /** Emits what is left, at the end of a layer. */
  flush(): void {
    this.#writer.flush();
  }

  /** A batch with this buffer has been taken: the buffer may be used again. */
  taken(data: Uint8Array): void {
    this.#out--;
    if (data.length === batchBytes) this.#spare.push(data);
    this.#wake?.();
  }
}
