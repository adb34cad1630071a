import type { BuildEvent } from "../../disk/build/contract.ts";
import type { Output } from "../command.ts";
import { BuildState, type DiskTotals } from "./build-state.ts";
import { type FrameStyle, renderFrame, renderResolving } from "./frame.ts";
import type { Progress } from "./progress.ts";
import { TerminalArea } from "./terminal.ts";

const redrawMs = 100;

/** A bar per running layer and a total, redrawn in place ten times a second. */
export class BarProgress implements Progress {
  readonly #output: Output;
  readonly #area: TerminalArea;
  readonly #unicode: boolean;
  readonly #colour: boolean;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #lines: () => readonly string[] = () => [];
  #state: BuildState | undefined;

  constructor(
    output: Output,
    env: Readonly<Record<string, string | undefined>>,
    now: () => number = () => performance.now(),
  ) {
    this.#output = output;
    this.#area = new TerminalArea(output);
    this.#unicode = /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || "");
    this.#colour = !env.NO_COLOR;
    this.#now = now;
  }

  resolving(done: number, total: number): void {
    this.#lines = () => [renderResolving(done, total, this.#style())];
    this.#start();
  }

  begin(totals: DiskTotals): void {
    const state = new BuildState(totals, this.#now());
    this.#state = state;
    this.#lines = () => renderFrame(state, this.#style(), this.#now());
    this.#start();
  }

  event(event: BuildEvent): void {
    this.#state?.apply(event, this.#now());
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#area.close();
  }

  #start(): void {
    if (this.#timer !== undefined) return;
    this.#area.draw(this.#lines());
    this.#timer = setInterval(() => this.#area.draw(this.#lines()), redrawMs);
    this.#timer.unref();
  }

  #style(): FrameStyle {
    const { columns = 80, rows = 24 } = this.#output;
    return { columns, rows, unicode: this.#unicode, colour: this.#colour };
  }
}
