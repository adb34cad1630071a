import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { readMountTable } from "../../runtime/host/mount-table.ts";
import type { Condition } from "../../runtime/runtime.ts";
import { askLook, type LookJob } from "./ask-look.ts";
import { devicesBelow } from "./disk-devices.ts";
import { KernelErrors } from "./kernel-errors.ts";

export type DiskHealthOptions = {
  /** How often the index of each disk is read from its storage; a minute when left out. */
  readonly probeMs?: number;
  /** How long after a disk was read in full again because its storage failed that is done once more at the earliest; ten minutes when left out. */
  readonly doubtMs?: number;
  /** The log of the kernel; `/dev/kmsg` when left out. */
  readonly kernelLog?: string;
};

type Health = DiskHealthOptions & {
  /** The storage of a disk has failed somewhere: its bytes are in doubt. */
  readonly onDoubt: (path: string) => void;
  /** `conditions` has another answer. */
  readonly onChange: () => void;
  /** Begins to ask the storage of a disk whether it answers. */
  readonly probe: (path: string) => void;
};

/**
 * Notices that the storage of disks fails while their files and devices look as before: what the kernel logs of the devices below them, file systems
 * that have become read-only, and indexes that cannot be read any more.
 */
export class DiskHealth {
  readonly #options: Health;
  readonly #kernel: KernelErrors;
  readonly #doubtedMs = new Map<string, number>();
  readonly #doubts = new Set<string>();
  /** By path: whether the file system that a disk lies on could be written when it was seen first. */
  readonly #wasWritable = new Map<string, boolean>();
  readonly #readOnly = new Set<string>();
  readonly #silent = new Set<string>();
  #probedMs = Number.NEGATIVE_INFINITY;

  constructor(options: Health) {
    this.#options = options;
    this.#kernel = new KernelErrors(options.kernelLog);
  }

  /** What is to be known of the storage of a disk that is trusted. */
  conditions(path: string): readonly Condition[] {
    if (!this.#readOnly.has(path)) return [];
    const message = `the file system of ${path} was writable and is read-only now, as the kernel makes it after errors: see "dmesg"; the disk was read in full again since`;
    return [{ type: "FileSystemReadOnly", message }];
  }

  /** `known`: all disks that are there, by path, and whether they are trusted. */
  async look(known: ReadonlyMap<string, boolean>): Promise<void> {
    const { probeMs = 60_000, doubtMs = 600_000, probe, onDoubt } = this.#options;
    const nowMs = performance.now();
    const trusted = [...known].flatMap(([path, isTrusted]) => (isTrusted ? [path] : []));
    for (const remembered of [this.#doubts, this.#doubtedMs, this.#wasWritable, this.#readOnly])
      for (const path of [...remembered.keys()]) if (!known.has(path)) remembered.delete(path);
    const failed = this.#kernel.read();
    if (failed.size > 0) for (const path of trusted) if (await this.#standsOn(path, failed)) this.#doubts.add(path);
    if (nowMs - this.#probedMs >= probeMs) {
      this.#probedMs = nowMs;
      await this.#lookForReadOnly(trusted);
      for (const path of trusted) probe(path);
    }
    for (const path of this.#doubts) {
      const againMs = (this.#doubtedMs.get(path) ?? Number.NEGATIVE_INFINITY) + doubtMs;
      if (known.get(path) !== true || nowMs < againMs) continue;
      this.#doubts.delete(path);
      this.#doubtedMs.set(path, nowMs);
      onDoubt(path);
    }
  }

  close(): void {
    this.#kernel.close();
  }

  async #lookForReadOnly(trusted: readonly string[]): Promise<void> {
    if (trusted.length === 0) return;
    const table = await readMountTable("self");
    const folders = new Map<string, string | undefined>();
    for (const folder of new Set(trusted.map((path) => dirname(path))))
      folders.set(folder, await this.#ask(folder, () => realpath(folder), { type: "realpath", folder }));
    for (const path of trusted) {
      const folder = folders.get(dirname(path));
      const mount = folder === undefined ? undefined : table.containing(folder);
      if (mount === undefined || mount.type === "devtmpfs") continue;
      const isWritable = !mount.superOptions.includes("ro");
      const wasWritable = this.#wasWritable.get(path) ?? isWritable;
      this.#wasWritable.set(path, wasWritable);
      if (isWritable || !wasWritable) {
        if (this.#readOnly.delete(path)) this.#options.onChange();
      } else if (!this.#readOnly.has(path)) {
        this.#readOnly.add(path);
        this.#doubts.add(path);
        this.#options.onChange();
      }
    }
  }

  async #standsOn(path: string, failed: ReadonlySet<string>): Promise<boolean> {
    const devices = await this.#ask(dirname(path), () => devicesBelow(path), { type: "devices", path });
    return devices !== undefined && [...failed].some((name) => devices.has(name));
  }

  /** `undefined` where nothing can be said, or the folder does not answer: it is not asked again until it may. */
  async #ask<T>(folder: string, here: () => Promise<T>, job: LookJob): Promise<T | undefined> {
    if (this.#silent.has(folder)) return undefined;
    const answer = await askLook(job, here).catch(() => undefined);
    if (answer === undefined) return undefined;
    if ("value" in answer) return answer.value;
    this.#silent.add(folder);
    void ("silent" in answer ? answer.silent : answer.unasked).then(() => this.#silent.delete(folder));
    return undefined;
  }
}
