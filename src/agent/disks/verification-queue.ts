import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { causeText } from "../../oci/oci-error.ts";
import type { FromVerification, Verdict, VerificationJob } from "./verification-protocol.ts";

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

type Waiting = {
  readonly job: VerificationJob;
  share: number;
  stop: (() => void) | undefined;
  isCancelled: boolean;
  settle: (verdict: Verdict) => void;
};

/** Reads disks in full against their digests, one after the other, in a thread that ends with each. */
export class VerificationQueue {
  readonly #waiting: Waiting[] = [];
  #running: Waiting | undefined;

  add(job: VerificationJob): Verification {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const waiting: Waiting = { job, share: 0, stop: undefined, isCancelled: false, settle: resolve };
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
    for (const waiting of [...this.#waiting, this.#running]) if (waiting !== undefined) this.#cancel(waiting);
  }

  #cancel(waiting: Waiting): void {
    waiting.isCancelled = true;
    waiting.settle({ type: "changed", reason: `${waiting.job.path}: it is no longer asked for` });
    const place = this.#waiting.indexOf(waiting);
    if (place >= 0) this.#waiting.splice(place, 1);
    waiting.stop?.();
  }

  #startNext(): void {
    if (this.#running !== undefined) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#running = next;
    void runJob(next).then((verdict) => {
      next.settle(verdict);
      this.#running = undefined;
      this.#startNext();
    });
  }
}

/** Resolves when the thread has ended. */
function runJob(waiting: Waiting): Promise<Verdict> {
  const { job } = waiting;
  // Beside this file, be it a source or the bundle.
  const file = new URL(`./verification-worker${extname(import.meta.filename)}`, import.meta.url);
  // Options of the main thread may not be for files.
  const worker = new Worker(file, { workerData: job, resourceLimits, execArgv: [] });
  waiting.stop = () => void worker.terminate();
  let verdict: Verdict | undefined;
  return new Promise((resolve) => {
    worker.on("message", (message: FromVerification) => {
      if (message.type === "progress") waiting.share = message.share;
      else verdict = message;
    });
    worker.on("error", (error) => {
      verdict ??= { type: "unreadable", reason: `${job.path} could not be verified: ${causeText(error)}` };
    });
    worker.on("exit", () => {
      const reason = `${job.path}: the thread that verifies it has ended`;
      resolve(verdict ?? { type: waiting.isCancelled ? "changed" : "unreadable", reason });
    });
  });
}
