import { type FileHandle, open, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeDeviceNumber, formatDeviceNumber } from "../../runtime/host/device-number.ts";

const openMs = 1000;
const pollMs = 1000;

/** Devices are opened one after the other: one thread of the pool at most waits for one that cannot even be opened. */
let lastOpened: Promise<unknown> = Promise.resolve();

/**
 * A block device that is held open while somebody else reads it who may have to be killed: whoever closes it last waits for what is being read,
 * and whoever opens it waits for that.
 */
export class HeldDevice implements AsyncDisposable {
  readonly #handle: FileHandle;
  #isNeeded = false;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** `undefined` for what cannot be opened, or while another one hangs. */
  static async open(path: string): Promise<HeldDevice | undefined> {
    const late = new AbortController();
    const opening = lastOpened.then(async () => {
      if (late.signal.aborted) return undefined;
      const handle = await open(path, "r").catch(() => undefined);
      if (!late.signal.aborted) return handle && new HeldDevice(handle);
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

  /** Holds it until nothing of it is being read any more, and resolves then. */
  async untilAnswered(): Promise<void> {
    this.#isNeeded = true;
    const { rdev } = await this.#handle.stat({ bigint: true });
    const file = `/sys/dev/block/${formatDeviceNumber(decodeDeviceNumber(rdev))}/inflight`;
    // Gone with the device.
    while (/[1-9]/.test(await readFile(file, "utf8").catch(() => ""))) await sleep(pollMs, undefined, { ref: false });
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isNeeded) await this.#handle.close();
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(undefined), { once: true }));
}
