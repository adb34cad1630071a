import type { LogLine } from "../log-line.ts";

/** More are not remembered: the oldest of things that never succeed are counted as begun for the first time again. */
const maxFailed = 1000;

/** Tells what an agent tries again from what it does for the first time, by what it logs. */
export class RetryCount {
  readonly #failed = new Set<string>();

  /** The kind of the action that ended, when the same had failed before. */
  note(line: LogLine): string | undefined {
    if (line.event !== "action-done" && line.event !== "action-failed") return undefined;
    const { action = "", image, digest, disk, path } = line.fields;
    const key = JSON.stringify([action, image, digest, disk, path]);
    const isAgain = this.#failed.delete(key);
    if (line.event === "action-failed") this.#failed.add(key);
    const [oldest] = this.#failed;
    if (oldest !== undefined && this.#failed.size > maxFailed) this.#failed.delete(oldest);
    return isAgain ? action : undefined;
  }
}
