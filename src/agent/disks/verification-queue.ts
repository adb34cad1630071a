import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { causeText } from "../../oci/oci-error.ts";
import type { FromVerification, Verdict, VerificationJob, VerificationTask } from "./verification-protocol.ts";

/** A disk that is being verified or waits for it. */
export type Verification = {
  readonly verdict: Promise<Verdict>;
  /** From 0 to 1. */
  readonly share: number;
  /** Ends it, and `verdict` is `changed`. May be called twice, and after the end. */
  cancel(): void;
};

/** The index of a disk is parsed in the thread; its contents and its table of digests do not count here. */
const resourceLimits = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 1024 };

/** Nothing read for so long: the device hangs, and its thread with it. */
const defaultStallMs = 60_000;

type Waiting = {
  readonly job: VerificationJob;
  readonly settle: (verdict: Verdict) => void;
  share: number;
  stop: () => void;
};

/** Reads disks in full against their digests, one after the other, in a thread that ends with each. */
export class VerificationQueue {
  readonly #stallMs: number;
  readonly #waiting: Waiting[] = [];
  #running: Waiting | undefined;
  /** Paths whose thread waits for a device that hangs: no signal ends it, and another one would come to the same. */
  readonly #hanging = new Set<string>();

  constructor(stallMs = defaultStallMs) {
    this.#stallMs = stallMs;
  }

  add(job: VerificationJob): Verification {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const waiting: Waiting = { job, settle: resolve, share: 0, stop: () => {} };
    this.#waiting.push(waiting);
    this.#startNext();
    return {
      verdict: promise,
      get share() {
        return waiting.share;
      },
      cancel: () => this.#cancel(waiting),
    };
  }

  /** Ends all. */
  close(): void {
    for (const waiting of this.#waiting.splice(0)) this.#cancel(waiting);
    if (this.#running !== undefined) this.#cancel(this.#running);
  }

  #cancel(waiting: Waiting): void {
    const place = this.#waiting.indexOf(waiting);
    if (place >= 0) this.#waiting.splice(place, 1);
    this.#end(waiting, { type: "changed", reason: `${waiting.job.path}: it is no longer asked for` });
  }

  /** Does not wait for the thread: where a device hangs, it ends when that answers. */
  #end(waiting: Waiting, verdict: Verdict): void {
    waiting.settle(verdict);
    waiting.stop();
    if (this.#running !== waiting) return;
    this.#running = undefined;
    this.#startNext();
  }

  #startNext(): void {
    if (this.#running !== undefined) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#running = next;
    this.#start(next);
  }

  #start(waiting: Waiting): void {
    const { path } = waiting.job;
    const unreadable = (why: string) => this.#end(waiting, { type: "unreadable", reason: `${path} ${why}` });
    const noAnswer = "cannot be read: it does not answer";
    if (this.#hanging.has(path)) {
      unreadable(noAnswer);
      return;
    }
    const stop = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const worker = startWorker({ job: waiting.job, stop });
    const startTimer = () =>
      setTimeout(() => {
        this.#hanging.add(path);
        unreadable(noAnswer);
      }, this.#stallMs);
    let timer = startTimer();
    waiting.stop = () => {
      clearTimeout(timer);
      // Not terminated: within a call through koffi, that takes the whole process.
      Atomics.store(new Int32Array(stop), 0, 1);
      worker.unref();
    };
    worker.on("message", (message: FromVerification) => {
      if (message.type !== "progress") return this.#end(waiting, message);
      if (this.#running !== waiting) return;
      waiting.share = message.share;
      clearTimeout(timer);
      timer = startTimer();
    });
    worker.on("error", (error) => unreadable(`could not be verified: ${causeText(error)}`));
    worker.on("exit", () => {
      this.#hanging.delete(path);
      unreadable("could not be verified: its thread has ended");
    });
  }
}

function startWorker(task: VerificationTask): Worker {
  // Beside this file, be it a source or the bundle.
  const file = new URL(`./verification-worker${extname(import.meta.filename)}`, import.meta.url);
  // Options of the main thread may not be for files.
  return new Worker(file, { workerData: task, resourceLimits, execArgv: [] });
}
