import type { FetchOptions, FetchReport } from "../../image-keeper.ts";

/** Counts what comes, and tells of it. */
export class FetchMeter {
  fetchedLayers = 0;
  presentLayers = 0;
  fetchedBytes = 0;
  presentBytes = 0;
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

  tell(): void {
    const { fetchedBytes, presentBytes } = this;
    this.#onProgress?.({ fetchedBytes, presentBytes, totalBytes: this.#totalBytes });
  }

  report(result: FetchReport["result"]): FetchReport {
    const { fetchedBytes, fetchedLayers, presentLayers } = this;
    return { result, fetchedBytes, fetchedLayers, presentLayers, conditions: [] };
  }
}
