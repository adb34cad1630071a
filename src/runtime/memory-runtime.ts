import { setTimeout as sleep } from "node:timers/promises";
import type { DiskIndex, IndexImage } from "../disk/reader/disk-index.ts";
import type { Digest } from "../oci/descriptor.ts";
import { MemoryImages } from "./memory-images.ts";
import type {
  Condition,
  DiskStatus,
  EjectOptions,
  EjectReport,
  InjectedImage,
  InjectOptions,
  InjectReport,
  OpenDisk,
  Runtime,
  User,
} from "./runtime.ts";
import { RuntimeError } from "./runtime-error.ts";

type MemoryDisk = { readonly index: DiskIndex; readonly path: string };

const pollMs = 5;

/**
 * A runtime that is only written down: it keeps the contract of `Runtime`, and starts and counts containers by name. Nothing is mounted, and
 * of a disk only the index is read. One lock stands for that which programs share.
 */
export class MemoryRuntime implements Runtime {
  readonly name: string;
  readonly #images: MemoryImages;
  readonly #disks = new Map<string, MemoryDisk>();
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(name = "memory", images = new MemoryImages()) {
    this.name = name;
    this.#images = images;
  }

  inject({ disk, source }: OpenDisk, options: InjectOptions): Promise<InjectReport> {
    return this.#alone(options.signal, async () => {
      const { index } = disk;
      const before = this.#images.changes;
      const started = performance.now();
      const away = [...this.#disks.keys()].filter((id) => id !== index.id && this.#images.isAway(id));
      const passing = [...this.#olderOf(index), ...this.#images.disksWithout(this.#disks), ...away];
      this.#images.handOver(passing, [index]);
      this.#disks.set(index.id, { index, path: source.path });
      this.#images.mount(index);
      const wanted = index.images.filter(
        ({ names }) => options.images === undefined || names.some((name) => options.images?.includes(name)),
      );
      const done: InjectedImage[] = [];
      for (const image of wanted) {
        options.signal.throwIfAborted();
        const injected = this.#injectImage(index, image, options);
        done.push(injected);
        options.onEvent?.({ type: "image-usable", image: injected });
      }
      const usable = performance.now() - started;
      const total = wanted.reduce((sum, image) => sum + this.#images.missingLayers(image), 0);
      if (options.chains) {
        for (const image of wanted) this.#images.addLayers(index.id, image);
        if (total > 0) options.onEvent?.({ type: "chains", done: total, total });
      }
      const changes = this.#images.changes - before;
      return {
        disk: index.id,
        images: done.map((image, i) => ({ ...image, chain: this.#chain(wanted[i]) })),
        conditions: [],
        calls: changes,
        transactions: changes,
        seconds: { usable: usable / 1000, chains: (performance.now() - started - usable) / 1000 },
      };
    });
  }

  async eject(options: EjectOptions): Promise<EjectReport> {
    let said = "";
    for (;;) {
      const result = await this.#alone(options.signal, async () => this.#tryEject(options));
      if ("disks" in result) return result;
      const names = result.users.map(({ name }) => name).join();
      if (names !== said) options.onEvent?.({ type: "waiting", users: result.users });
      said = names;
      await sleep(pollMs, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted());
    }
  }

  async status({ signal }: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]> {
    signal.throwIfAborted();
    this.#mustBeOpen();
    return [...this.#disks.values()]
      .sort((a, b) => a.index.line.localeCompare(b.index.line, "en") || b.index.sequence - a.index.sequence)
      .map(({ index, path }) => ({
        id: index.id,
        line: index.line,
        sequence: index.sequence,
        source: path,
        isMounted: !this.#images.isAway(index.id),
        images: this.#images.ofDisk(index).map(({ image, names }) => ({
          names,
          digest: image.target.digest,
          chain: this.#chain(image),
          conditions: this.#recordConditions(image),
        })),
        heldBy: this.#images.users(index.id, this.#images.mountedBeside(index.id)),
        conditions: [],
      }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** As somebody else starts a container; its id. Throws `RuntimeError` `not-found` when there is no such image. */
  startContainer(image: string): string {
    return this.#images.startContainer(image);
  }

  removeContainer(id: string): void {
    this.#images.removeContainer(id);
  }

  /** As a pull sets a tag. */
  setTag(name: string, digest: Digest): void {
    this.#images.setTag(name, digest);
  }

  /** Digest of what a name stands for. */
  tag(name: string): Digest | undefined {
    return this.#images.tag(name);
  }

  #tryEject({ disks, wait, materialize, onEvent }: EjectOptions): EjectReport | { readonly users: readonly User[] } {
    const ids = disks ?? [...this.#disks.keys()];
    const unknown = ids.find((id) => !this.#disks.has(id));
    if (unknown !== undefined) throw new RuntimeError("not-found", `disk ${unknown} is not injected into ${this.name}`);
    const staying = [...this.#disks.values()]
      .map(({ index }) => index)
      .filter(({ id }) => !ids.includes(id))
      .sort((a, b) => b.sequence - a.sequence);
    // Of what a disk that stays has too, it takes over.
    const users = ids.flatMap((id) => this.#images.users(id, staying));
    if (users.length > 0 && !materialize) {
      if (wait) return { users };
      throw inUse(users);
    }
    this.#images.handOver(ids, staying);
    const ejected = ids.map((id) => {
      const copied = this.#images.materialize(id);
      for (const { name, tree } of copied) onEvent?.({ type: "materializing", snapshot: name, tree });
      const removedImages = this.#images.removeDisk(id);
      this.#disks.delete(id);
      const heldBy = this.#images.holders(id);
      return { id, isReleased: heldBy.length === 0, heldBy, removedImages, materialized: copied.length };
    });
    return { disks: ejected };
  }

  #injectImage(index: DiskIndex, image: IndexImage, { force, keepTags }: InjectOptions): InjectedImage {
    const conditions: Condition[] = [];
    let isNew = this.#images.addTop(index.id, image);
    for (const name of image.names) {
      if (keepTags?.includes(name)) continue;
      const kept = force ? undefined : this.#whyKept(index, image, name);
      if (kept !== undefined) conditions.push({ type: "TagKept", message: kept });
      else if (this.#images.record(index.id, name, image.target.digest)) isNew = true;
    }
    const { names, target } = image;
    return {
      names,
      digest: target.digest,
      result: isNew ? "injected" : "present",
      chain: this.#chain(image),
      conditions,
    };
  }

  /** A tag with another digest moves only when it was set from a disk, and not from a newer one of the line. */
  #whyKept(index: DiskIndex, image: IndexImage, name: string): string | undefined {
    const digest = this.#images.tag(name);
    if (digest === undefined || digest === image.target.digest) return undefined;
    const owner = this.#disks.get(this.#images.ownerOf(name) ?? "")?.index;
    const isOurs = owner !== undefined && !(owner.line === index.line && owner.sequence > index.sequence);
    return isOurs ? undefined : `${name} stays at ${digest}; the disk has ${image.target.digest} (--force moves it)`;
  }

  #recordConditions(image: IndexImage): Condition[] {
    return image.names.flatMap((name): Condition[] => {
      const digest = this.#images.tag(name);
      if (digest === image.target.digest) return [];
      if (digest === undefined) return [{ type: "RecordMissing", message: `the name ${name} was removed` }];
      return [{ type: "TagMoved", message: `${name} is ${digest} on this node` }];
    });
  }

  #olderOf({ id, line, sequence }: DiskIndex): string[] {
    const older = [...this.#disks.values()].filter(({ index }) => index.line === line && index.sequence < sequence);
    return older.map(({ index }) => index.id).filter((other) => other !== id);
  }

  #chain(image: IndexImage | undefined): "complete" | "pending" {
    return image === undefined || this.#images.missingLayers(image) === 0 ? "complete" : "pending";
  }

  /** One after the other, as programs wait for each other. */
  #alone<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(() => {
      signal.throwIfAborted();
      this.#mustBeOpen();
      return work();
    });
    this.#last = result.catch(() => {});
    return result;
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw new RuntimeError("cancelled", `${this.name} is closed`);
    if (!this.#images.isRunning) throw new RuntimeError("unavailable", `${this.name} is not running; start it`);
  }
}

function inUse(users: readonly User[]): RuntimeError {
  const names = users.map(({ kind, name }) => `${kind} ${name}`).join(", ");
  return new RuntimeError(
    "failed-precondition",
    `in use by ${names}; remove them, or eject with --wait or --materialize`,
  );
}
