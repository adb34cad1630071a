import { openDiskSource } from "../../runtime/host/disk-source.ts";
import type { OpenDisk } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import { ChangeSignal } from "./change-signal.ts";
import type { DiskFinder, FoundDisk } from "./disk-finder.ts";

/** Disks in memory, for tests: they come, go and change state when told to. */
export class MemoryDiskFinder implements DiskFinder {
  readonly #disks = new Map<string, { readonly found: FoundDisk; readonly open: () => Promise<OpenDisk> }>();
  readonly #changed = new ChangeSignal();
  /** Paths of `removeFile`, in order. */
  readonly removed: string[] = [];

  /** Puts a disk in its place, instead of what was there. `open` gives what `open` of the finder does, else it opens the file at the path. */
  put(found: FoundDisk, open: () => Promise<OpenDisk> = () => openDiskSource(found.path)): void {
    this.#disks.set(found.path, { found, open });
    this.#changed.tell();
  }

  /** Takes a disk away; nothing happens when there is none. */
  take(path: string): void {
    if (this.#disks.delete(path)) this.#changed.tell();
  }

  /** Every reader of `changes` gets an item. */
  tellChange(): void {
    this.#changed.tell();
  }

  async find({ signal }: { readonly signal: AbortSignal }): Promise<readonly FoundDisk[]> {
    signal.throwIfAborted();
    return [...this.#disks.values()].map(({ found }) => found).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<void> {
    return this.#changed.read(signal);
  }

  async open(path: string): Promise<OpenDisk> {
    const { open } = this.#trusted(path);
    return open();
  }

  async removeFile(path: string, id: string): Promise<void> {
    const { found } = this.#trusted(path);
    if (found.kind !== "file" || found.identity?.id !== id)
      throw new AgentError("not-trusted", `${path} is not the file of disk ${id}; it stays`);
    this.removed.push(path);
    this.take(path);
  }

  async close(): Promise<void> {}

  #trusted(path: string): { readonly found: FoundDisk; readonly open: () => Promise<OpenDisk> } {
    const entry = this.#disks.get(path);
    if (entry === undefined) throw new AgentError("not-found", `there is no disk at ${path}`);
    if (entry.found.state !== "trusted") throw new AgentError("not-trusted", `${path}: ${entry.found.reason}`);
    return entry;
  }
}
