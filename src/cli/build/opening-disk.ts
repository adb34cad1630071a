import type { OldDisk } from "../../disk/build/old-disk/old-disk.ts";

/** The disk that `--from` names, for one build. It is opened at once, whether or not anybody waits for it. */
export class OpeningDisk {
  readonly #stop = new AbortController();
  readonly #opening: Promise<OldDisk>;

  /** `signal` holds for the build, too. */
  constructor(path: string, signal: AbortSignal) {
    this.#opening = open(path, AbortSignal.any([signal, this.#stop.signal]));
    // Shows where the disk is waited for.
    this.#opening.catch(() => {});
  }

  /** Throws `DiskError` or `ErofsError` when it is no disk that can be read, and the reason of the signal. */
  opened(): Promise<OldDisk> {
    return this.#opening;
  }

  /** Ends its threads and the check of what it holds; its index and tables may have to be read first. May be called twice. */
  async close(): Promise<void> {
    this.#stop.abort();
    const disk = await this.#opening.catch(() => undefined);
    await disk?.close();
  }
}

async function open(path: string, signal: AbortSignal): Promise<OldDisk> {
  const { OldDisk } = await import("../../disk/build/old-disk/old-disk.ts");
  return OldDisk.open(path, signal);
}
