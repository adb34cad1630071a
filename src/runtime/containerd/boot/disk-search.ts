import { setTimeout as sleep } from "node:timers/promises";
import { causeText, printable } from "../../../oci/oci-error.ts";
import { blockDeviceIdentity, listBlockDevices, readErofsUuid } from "../../host/block-devices.ts";
import { type DiskSource, readDiskSource } from "../../host/disk-source.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { CarrierFile } from "../ownership.ts";

/** A disk that was looked for. `problem` says, for people, why it is not there. */
export type SearchResult =
  | { readonly source: DiskSource; readonly isMoved: boolean }
  | { readonly source: undefined; readonly problem: string };

export type SearchOptions = {
  /** Ends the wait for devices: whoever waits for a disk that does not come holds up the runtime. There is one look at least. */
  readonly deadline: AbortSignal;
  /** Ends a look at a device that does not answer. */
  readonly limit: AbortSignal;
  readonly signal: AbortSignal;
  /** Called once, when the disk is not there at the first look. */
  readonly onWait?: (problem: string) => void;
};

const firstPauseMs = 20;
const longestPauseMs = 250;

/**
 * Finds a disk by what its carriers say: at a path that it was injected from, or, when that is below `/dev`, under any name that the device
 * has now. A disk is the right one when its id is; where the carrier says which hardware it was, that has to be the same too, since
 * anyone may write a well-known id on a volume of his own. Looks again until the deadline. Throws the reason of `signal` when that is aborted.
 */
export async function findDisk(records: readonly CarrierFile[], options: SearchOptions): Promise<SearchResult> {
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
  readonly #records: readonly CarrierFile[];
  /** Devices that are not it, with the state in which they were looked at. */
  readonly #others = new Map<string, string>();

  constructor(records: readonly CarrierFile[]) {
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
async function check({ id, identity }: CarrierFile, path: string): Promise<DiskSource | string> {
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
