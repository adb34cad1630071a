import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Digest } from "../../../oci/descriptor.ts";
import type { FromHashWorker, ToHashWorker } from "./hash-protocol.ts";

/** The file is told of less often than its bytes come. */
const toldEveryBytes = 4 << 20;

/** One thread for all files of this process; it ends with the last of them, for the memory that it takes. */
let shared: HashThread | undefined;

/** The SHA-256 of a file that is being written, taken along its contiguous prefix by another thread. */
export class PrefixHash implements Disposable {
  readonly #path: string;
  readonly #thread: HashThread;
  readonly #id: number;
  #toldBytes = 0;
  #isOver = false;

  constructor(path: string) {
    shared ??= new HashThread(() => {
      shared = undefined;
    });
    this.#path = path;
    this.#thread = shared;
    this.#id = this.#thread.enter();
    this.startOver();
  }

  /** Forgets what was hashed. */
  startOver(): void {
    this.#toldBytes = 0;
    this.#thread.post({ type: "begin", id: this.#id, path: this.#path });
  }

  /** The file is whole up to `prefixBytes`. */
  advance(prefixBytes: number): void {
    if (prefixBytes - this.#toldBytes < toldEveryBytes) return;
    this.#toldBytes = prefixBytes;
    this.#thread.post({ type: "advance", id: this.#id, end: prefixBytes });
  }

  /** The digest of the file's first `sizeBytes`. Throws when it cannot be read, or is shorter. */
  async digest(sizeBytes: number): Promise<Digest> {
    this.#thread.post({ type: "advance", id: this.#id, end: sizeBytes });
    return this.#thread.digest(this.#id);
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#thread.leave(this.#id);
  }
}

type Waiting = { readonly resolve: (digest: Digest) => void; readonly reject: (error: Error) => void };

class HashThread {
  readonly #worker: Worker;
  readonly #onEnd: () => void;
  readonly #ids = new Set<number>();
  readonly #waiting = new Map<number, Waiting>();
  /** Of files whose digest nobody has asked for yet. */
  readonly #failures = new Map<number, Error>();
  #next = 0;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#worker = new Worker(new URL(`./hash-worker${extname(import.meta.filename)}`, import.meta.url));
    this.#worker.on("message", (message: FromHashWorker) => this.#answer(message));
    this.#worker.on("error", (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
  }

  enter(): number {
    const id = this.#next++;
    this.#ids.add(id);
    return id;
  }

  leave(id: number): void {
    this.post({ type: "drop", id });
    this.#ids.delete(id);
    this.#failures.delete(id);
    this.#waiting.get(id)?.reject(new Error("the digest is not wanted any more"));
    this.#waiting.delete(id);
    if (this.#ids.size > 0) return;
    this.#onEnd();
    void this.#worker.terminate();
  }

  post(message: ToHashWorker): void {
    this.#worker.postMessage(message);
  }

  digest(id: number): Promise<Digest> {
    const failure = this.#failures.get(id);
    if (failure !== undefined) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.post({ type: "finish", id });
    });
  }

  #answer(message: FromHashWorker): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "digest") waiting?.resolve(`sha256:${message.hex}`);
    else if (waiting !== undefined) waiting.reject(new Error(message.message));
    else if (this.#ids.has(message.id)) this.#failures.set(message.id, new Error(message.message));
  }

  #fail(error: Error): void {
    this.#onEnd();
    for (const id of this.#ids) this.#answer({ type: "failed", id, message: error.message });
  }
}
