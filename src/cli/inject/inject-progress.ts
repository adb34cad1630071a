import type { InjectEvent } from "../../runtime/runtime.ts";
import type { Output } from "../command.ts";
import { formatCount, formatSeconds, shortImage } from "../format.ts";
import { TerminalArea } from "../progress/terminal.ts";

/** Tells how the injection of one disk into one runtime goes on. */
export interface InjectProgress {
  event(event: InjectEvent): void;
  /** Leaves the terminal clean. May be called twice. */
  close(): void;
}

export type InjectTotals = { readonly disk: string; readonly runtime: string; readonly images: number };

/** On a terminal one line that is written over, elsewhere a line for each image. */
export function createInjectProgress(
  output: Output,
  env: Readonly<Record<string, string | undefined>>,
  totals: InjectTotals,
  now: () => number = () => performance.now(),
): InjectProgress {
  return output.isTTY === true && env.TERM !== "dumb"
    ? new LineProgress(new TerminalArea(output), totals, now)
    : new PlainProgress(output, totals, now);
}

const redrawMs = 50;

class LineProgress implements InjectProgress {
  readonly #area: TerminalArea;
  readonly #totals: InjectTotals;
  readonly #now: () => number;
  #images = 0;
  #chains = "";
  #drawnMs = Number.NEGATIVE_INFINITY;

  constructor(area: TerminalArea, totals: InjectTotals, now: () => number) {
    this.#area = area;
    this.#totals = totals;
    this.#now = now;
  }

  event(event: InjectEvent): void {
    if (event.type === "image-usable") this.#images++;
    else this.#chains = `, ${formatCount(event.done)} of ${formatCount(event.total)} layers for later pulls`;
    if (this.#now() - this.#drawnMs < redrawMs) return;
    this.#drawnMs = this.#now();
    const { disk, images } = this.#totals;
    this.#area.draw([`${disk}: ${formatCount(this.#images)} of ${formatCount(images, "image")} usable${this.#chains}`]);
  }

  close(): void {
    this.#area.close();
  }
}

class PlainProgress implements InjectProgress {
  readonly #output: Output;
  readonly #totals: InjectTotals;
  readonly #now: () => number;
  readonly #startedMs: number;
  #images = 0;

  constructor(output: Output, totals: InjectTotals, now: () => number) {
    this.#output = output;
    this.#totals = totals;
    this.#now = now;
    this.#startedMs = now();
    output.write(`injecting ${totals.disk} into ${totals.runtime}\n`);
  }

  event(event: InjectEvent): void {
    const after = formatSeconds((this.#now() - this.#startedMs) / 1000);
    if (event.type === "image-usable") {
      const { names, digest, result } = event.image;
      const number = `${++this.#images}/${this.#totals.images}`;
      const what = result === "present" ? "usable before" : `usable after ${after}`;
      this.#output.write(`image ${number} ${shortImage(names[0] ?? digest)}: ${what}\n`);
    } else if (event.done === event.total) {
      this.#output.write(`${formatCount(event.total, "layer")} for later pulls: done after ${after}\n`);
    }
  }

  close(): void {}
}
