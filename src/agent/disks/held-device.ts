import { type FileHandle, open, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeDeviceNumber, formatDeviceNumber } from "../../runtime/host/device-number.ts";
import { readOnlyFlags } from "./opened-candidate.ts";

const openMs = 1000;
const pollMs = 1000;

/** One that others keep busy, and that answers, may never be seen at rest: it is asked again after so long. */
const askAgainMs = 60_000;

/** Devices are opened one after the other: one thread of the pool at most waits for one that cannot even be opened. */
let lastOpened: Promise<unknown> = Promise.resolve();

/** By path: those that something is being read of still. */
const kept = new Map<string, HeldDevice>();

/**
 * A block device that is held open while somebody else reads it who may have to be killed: whoever closes it last waits for what is being read,
 * and whoever opens it waits for that.
 */
export class HeldDevice implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;
  #isNeeded = false;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /** `undefined` for what cannot be opened, or while another one hangs. */
  static async open(path: string): Promise<HeldDevice | undefined> {
    const before = kept.get(path);
    if (before !== undefined) {
      kept.delete(path);
      before.#isNeeded = false;
      return before;
    }
    const late = new AbortController();
    const opening = lastOpened.then(async () => {
      if (late.signal.aborted) return undefined;
      const handle = await open(path, readOnlyFlags).catch(() => undefined);
      if (!late.signal.aborted) return handle && new HeldDevice(path, handle);
      await handle?.close();
      return undefined;
    });
    lastOpened = opening;
    const timer = setTimeout(() => late.abort(), openMs);
    try {
      return await Promise.race([opening, aborted(late.signal)]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Holds it until nothing of it is being read any more. Resolves then, or after a while: whoever opens it again before gets this one, and lets
   * go of it if the device has answered.
   */
  async untilAnswered(timeoutMs = askAgainMs): Promise<void> {
    this.#isNeeded = true;
    const other = kept.get(this.#path);
    if (other !== undefined && other !== this) {
      // That one is enough.
      await this.#handle.close();
      return other.untilAnswered(timeoutMs);
    }
    kept.set(this.#path, this);
    await Promise.race([this.#untilIdle(), sleep(timeoutMs, undefined, { ref: false })]);
  }

  async #untilIdle(): Promise<void> {
    const { rdev } = await this.#handle.stat({ bigint: true });
    const file = `/sys/dev/block/${formatDeviceNumber(decodeDeviceNumber(rdev))}/inflight`;
    // Gone with the device.
    while (/[1-9]/.test(await readFile(file, "utf8").catch(() => ""))) {
      await sleep(pollMs, undefined, { ref: false });
      if (kept.get(this.#path) !== this) return;
    }
    if (kept.get(this.#path) !== this) return;
    kept.delete(this.#path);
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isNeeded) await this.#handle.close();
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(undefined), { once: true }));
}
