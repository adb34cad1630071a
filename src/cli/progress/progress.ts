import type { BuildEvent } from "../../disk/build/contract.ts";
import type { ProgressStyle } from "../build/arguments.ts";
import type { Output } from "../command.ts";
import { BarProgress } from "./bar-progress.ts";
import type { DiskTotals } from "./build-state.ts";
import { PlainProgress } from "./plain-progress.ts";

/** Tells the user how a build goes on. Never writes to standard output. */
export interface Progress {
  /** `done` of `total` images have been looked up. */
  resolving(done: number, total: number): void;
  /** A disk's build begins; ends the one before. */
  begin(totals: DiskTotals): void;
  event(event: BuildEvent): void;
  /** Leaves the terminal clean. May be called twice. */
  close(): void;
}

const noProgress: Progress = { resolving() {}, begin() {}, event() {}, close() {} };

export function createProgress(
  style: ProgressStyle,
  output: Output,
  env: Readonly<Record<string, string | undefined>>,
): Progress {
  if (style === "none") return noProgress;
  if (style === "auto" && output.isTTY === true && env.TERM !== "dumb") return new BarProgress(output, env);
  return new PlainProgress(output);
}
