import { setTimeout as sleep } from "node:timers/promises";
import { causeText, printable } from "../../oci/oci-error.ts";
import { blockDeviceIdentity, listBlockDevices, readErofsUuid } from "./block-devices.ts";
import { type DiskSource, readDiskSource } from "./disk-source.ts";
import { errorCode } from "./system-calls.ts";

/** What was written down of a disk when it was injected. */
export type WantedDisk = {
  readonly id: string;
  /** Absolute path of the file or block device. */
  readonly source: string;
  /** What the hardware of a block device said it is (`blockDeviceIdentity`): no other is taken for it. */
  readonly identity?: string;
};

/** A disk that was looked for. `problem` says, for people, why it is not there. */
export type SearchResult =
  | { readonly source: DiskSource; readonly isMoved: boolean }
  | { readonly source: undefined; readonly problem: string };

/** How long disks are waited for, all of them together. */
export type DiskWait = {
  /** Ends the wait for devices: whoever waits for a disk that does not come holds up the runtime. There is one look at least. */
  readonly deadline: AbortSignal;
  /** Ends a look at a device that does not answer. */
  readonly limit: AbortSignal;
};

export type SearchOptions = DiskWait & {
  readonly signal: AbortSignal;
  /** Called once, when the disk is not there at the first look. */
  readonly onWait?: (problem: string) => void;
};

const defaultWaitMs = 10_000;
/** For a disk that is there and answers. */
const leastLookMs = 5000;

/** A wait that begins now. Default: 10,000. */
export function startDiskWait(waitMs = defaultWaitMs): DiskWait {
  return { deadline: AbortSignal.timeout(waitMs), limit: AbortSignal.timeout(Math.max(waitMs, leastLookMs)) };
}

const firstPauseMs = 20;
const longestPauseMs = 250;

/**
 * Finds a disk by what was written down: at a path that it was injected from, or, when that is below `/dev`, under any name that the device
 * has now. A disk is the right one when its id is; where the carrier says which hardware it was, that has to be the same too, since
 * anyone may write a well-known id on a volume of his own. Looks again until the deadline. Throws the reason of `signal` when that is aborted.
 */
export async function findDisk(records: readonly WantedDisk[], options: SearchOptions): Promise<SearchResult> {
  const { deadline, signal, onWait } = options;
  const search = new DiskSearch(records);
  const stuck = aborted(AbortSignal.any([options.limit, signal]));
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const found = await Promise.race([search.look(), stuck]);
    signal.throwIfAborted();
    if (found !== undefined) return found;
    if (deadline.aborted || options.limit.aborted) return { source: undefined, problem: search.problem };
    if (pauseMs === firstPauseMs) onWait?.(search.problem);
    await sleep(pauseMs, undefined, { signal: AbortSignal.any([deadline, signal]) }).catch(() => {});
    signal.throwIfAborted();
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

class DiskSearch {
  problem: string;
  readonly #records: readonly WantedDisk[];
  /** Devices that are not it, with the state in which they were looked at. */
  readonly #others = new Map<string, string>();

  constructor(records: readonly WantedDisk[]) {
    this.#records = records;
    this.problem = `${records[0]?.source} does not answer`;
  }

  async look(): Promise<SearchResult | undefined> {
    const problems: string[] = [];
    for (const record of this.#records) {
      const source = await check(record, record.source);
      if (typeof source !== "string") return { source, isMoved: false };
      problems.push(source);
    }
    this.problem = problems.join("; ");
    for (const record of this.#records.filter(({ source }) => source.startsWith("/dev/"))) {
      for (const { path, state } of await listBlockDevices()) {
        const key = `${record.source} ${path}`;
        if (this.#others.get(key) === state) continue;
        const source = await check(record, path);
        if (typeof source !== "string") return { source, isMoved: true };
        this.#others.set(key, state);
      }
    }
    return undefined;
  }
}

/** The disk there, or why it is not the one. */
async function check({ id, identity }: WantedDisk, path: string): Promise<DiskSource | string> {
  try {
    // Of other disks nothing but the superblock is read.
    const uuid = await readErofsUuid(path);
    if (uuid === undefined) return `${path} holds no disk`;
    if (uuid !== id.slice(0, 32)) return `${path} holds another file system (UUID ${uuid})`;
    const found = identity === undefined ? undefined : await blockDeviceIdentity(path);
    if (found !== identity)
      return `${path} has the disk's id, but is another device (${found ?? "without a serial number"})`;
    const source = await readDiskSource(path);
    return source.id === id ? source : `${path} holds another disk (id ${source.id})`;
  } catch (error) {
    return printable(errorCode(error) === "ENOENT" ? `there is no ${path}` : causeText(error), 500);
  }
}
