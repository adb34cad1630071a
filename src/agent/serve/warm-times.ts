import type { LogFields, LogLine } from "../log-line.ts";

/** Where an image that has become warm is from, how long that took, and whether others had taken it away. */
export type Warmed = {
  readonly source: "disk" | "registry" | "node";
  readonly seconds: number;
  readonly wasLost: boolean;
};

type Cold = {
  readonly sinceMs: number;
  readonly wasLost: boolean;
  /** What the name is to move to, when that is what is waited for. */
  readonly update?: string | undefined;
};

/** More are not timed at once: who wants so many has not warmed the first yet. */
const maxTimed = 5000;

/**
 * Times images of one runtime, from when they are wanted, lost, or another digest of theirs is known, until they are warm, by what its agent logs.
 * Keeps nothing of warm ones.
 */
export class WarmTimes {
  readonly #cold = new Map<string, Cold>();

  /** `nowMs`: when the line was logged. What it says of an image that has become warm. */
  note(line: LogLine, nowMs: number): Warmed | undefined {
    switch (line.event) {
      case "image-lost":
        this.#begin(line.fields.image, { sinceMs: nowMs, wasLost: true });
        return undefined;
      case "image-update":
        this.#begin(line.fields.image, { sinceMs: nowMs, wasLost: false, update: line.fields.digest });
        return undefined;
      case "image-unwanted":
        this.#cold.delete(line.fields.image ?? "");
        return undefined;
      case "image-phase":
        return this.#notePhase(line.fields, nowMs);
      default:
        return undefined;
    }
  }

  #notePhase({ image = "", digest, phase, source = "node" }: LogFields, nowMs: number): Warmed | undefined {
    const cold = this.#cold.get(image);
    if (phase === "Warm") {
      this.#cold.delete(image);
      return cold && { source, seconds: (nowMs - cold.sinceMs) / 1000, wasLost: cold.wasLost };
    }
    // The registry may have taken back what it said.
    const isOther = cold?.update !== undefined && cold.update !== digest;
    if (cold === undefined || isOther) this.#begin(image, { sinceMs: nowMs, wasLost: false });
    return undefined;
  }

  #begin(image = "", cold: Cold): void {
    if (this.#cold.size < maxTimed || this.#cold.has(image)) this.#cold.set(image, cold);
  }
}
