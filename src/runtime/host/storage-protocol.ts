import { errorCode } from "./system-calls.ts";

/** What a question to storage came to. The promises resolve when it is worth asking again. */
export type StorageAnswer<T> =
  | { readonly value: T }
  /** There was no answer in time. `isGivenUp`: nobody waits for one any more. */
  | { readonly silent: Promise<unknown>; readonly isGivenUp: boolean }
  /** Nobody could be sent to ask: it says nothing of the storage. */
  | { readonly unasked: Promise<unknown> };

type SentError = { readonly code: string | undefined; readonly message: string };

export type FromStorageChild<T> = { readonly value: T } | { readonly error: SentError };

/** An error of a child, with its code. */
export class ChildError extends Error {
  readonly code: string | undefined;

  constructor({ code, message }: SentError) {
    super(message);
    this.code = code;
  }
}

/** The life of a child of `StorageChildren`: answers jobs one after the other, and ends with the process that started it. */
export function serveStorageJobs<Job>(answer: (job: Job) => Promise<unknown>): void {
  // At once: the pool may have a thread that nothing else ends.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.on("message", ({ job }: { readonly job: Job }) => {
    void answer(job).then(
      (value) => process.send?.({ value }),
      (error: unknown) =>
        process.send?.({
          error: { code: errorCode(error), message: error instanceof Error ? error.message : String(error) },
        }),
    );
  });
}
