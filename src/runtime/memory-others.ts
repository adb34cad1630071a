import type { Digest } from "../oci/descriptor.ts";
import { ChangeQueue } from "./change-queue.ts";
import type { ImageChange } from "./image-keeper.ts";
import type { MemoryImage, MemoryImages } from "./memory-images.ts";
import { RuntimeError } from "./runtime-error.ts";

export type MemoryMethod = "observe" | "fetch" | "setName" | "release" | "cutOff";

/** What others do to a node in memory: kubelet, people, the runtime itself. */
export class MemoryOthers {
  readonly #name: string;
  readonly #images: MemoryImages;
  readonly #queues = new Set<ChangeQueue>();
  readonly #failures = new Map<MemoryMethod, unknown[]>();
  #areEventsSwallowed = false;

  constructor(name: string, images: MemoryImages) {
    this.#name = name;
    this.#images = images;
    images.listen((changed) => {
      if (this.#areEventsSwallowed || !this.#images.isRunning) return;
      for (const queue of this.#queues)
        queue.push(changed === undefined ? { type: "changed" } : { type: "changed", name: changed });
    });
  }

  /** A pull: content and layers of the runtime's own, and the name, whatever it stood for. */
  pull(name: string, image: MemoryImage): void {
    this.#images.addOwn(image, false);
    this.#images.setTag(name, image.target.digest);
  }

  setTag(name: string, digest: Digest): void {
    this.#images.setTag(name, digest);
  }

  /** `ctr image rm`: this name alone, then a garbage collection. */
  removeName(name: string): void {
    this.#images.removeRecord(name);
    this.#images.collectGarbage();
  }

  /** `crictl rmi`, or kubelet's collection: all names of its digest, pinned or not. */
  removeImage(name: string): void {
    const digest = this.#images.tag(name);
    for (const [other, record] of [...this.#images.records])
      if (record.digest === digest) this.#images.removeRecord(other);
    this.#images.collectGarbage();
  }

  /** `ctr snapshot rm`. */
  removeSnapshot(chainID: Digest): void {
    this.#images.removeSnapshot(chainID);
  }

  /** As long as it runs, its image has a user. */
  startContainer(image: string): string {
    return this.#images.startContainer(image);
  }

  removeContainer(id: string): void {
    this.#images.removeContainer(id);
  }

  collectGarbage(): void {
    this.#images.collectGarbage();
  }

  /** A disk's device goes, or comes back mounted. No event tells it. */
  setAway(disk: string, isAway: boolean): void {
    this.#images.setAway(disk, isAway);
  }

  /** While true no event arrives, and nothing says so but streams with `isNoticed`. When it ends, they say `listening` again. */
  swallowEvents(areSwallowed: boolean, isNoticed = false): void {
    this.#areEventsSwallowed = areSwallowed;
    if (isNoticed) this.#tell({ type: "lost", message: "events do not arrive" });
    if (!areSwallowed) this.#tell({ type: "listening" });
  }

  /** The daemon ends: every call fails until `start`. */
  stop(): void {
    this.#images.isRunning = false;
    this.#tell({ type: "lost", message: `${this.#name} was stopped` });
  }

  start(): void {
    this.#images.isRunning = true;
    this.#tell({ type: "listening" });
  }

  /** The next call of a method throws `error`, or the next after those that were told so before. */
  failNext(method: MemoryMethod, error: unknown): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), error]);
  }

  /** Throws what a call meets. */
  meet(method: MemoryMethod): void {
    if (!this.#images.isRunning) throw new RuntimeError("unavailable", `${this.#name} is not running; start it`);
    const failures = this.#failures.get(method) ?? [];
    if (failures.length > 0) throw failures.shift();
  }

  async *changes(signal: AbortSignal): AsyncGenerator<ImageChange, void, undefined> {
    const queue = new ChangeQueue();
    this.#queues.add(queue);
    try {
      queue.push(
        !this.#images.isRunning ? { type: "lost", message: `${this.#name} is not running` } : { type: "listening" },
      );
      yield* queue.read(signal);
    } finally {
      this.#queues.delete(queue);
    }
  }

  #tell(change: ImageChange): void {
    for (const queue of this.#queues) queue.push(change);
  }
}
