import type { FetchOptions, FetchReport } from "../../image-keeper.ts";

/** Counts what comes, and tells of it. */
export class FetchMeter {
  fetchedLayers = 0;
  presentLayers = 0;
  fetchedBytes = 0;
  presentBytes = 0;
  /** Of these, what a disk has. */
  diskBytes = 0;
  unpackedBytes = 0;
  readonly #totalBytes: number;
  readonly #onProgress: FetchOptions["onProgress"];

  constructor(totalBytes: number, onProgress: FetchOptions["onProgress"]) {
    this.#totalBytes = totalBytes;
    this.#onProgress = onProgress;
  }

  fetched(bytes: number): void {
    this.fetchedBytes += bytes;
    this.tell();
  }

  present(bytes: number): void {
    this.presentBytes += bytes;
    this.tell();
  }

  /** Contents of a layer of so many bytes are in their place. */
  unpacked(bytes: number): void {
    this.unpackedBytes += bytes;
    this.tell();
  }

  tell(): void {
    const { fetchedBytes, presentBytes, unpackedBytes } = this;
    this.#onProgress?.({ fetchedBytes, presentBytes, unpackedBytes, totalBytes: this.#totalBytes });
  }

  report(result: FetchReport["result"]): FetchReport {
    const { fetchedBytes, diskBytes, fetchedLayers, presentLayers } = this;
    return { result, fetchedBytes, diskBytes, fetchedLayers, presentLayers, conditions: [] };
  }
}
