import type { LogLine } from "../log-line.ts";

/** Where an image that has become warm is from, how long that took, and whether others had taken it away. */
export type Warmed = {
  readonly source: "disk" | "registry" | "node";
  readonly seconds: number;
  readonly wasLost: boolean;
};

/** More are not timed at once: who wants so many has not warmed the first yet. */
const maxTimed = 5000;

/** Times images of one runtime, from when they are wanted or lost until they are warm, by what its agent logs. Keeps nothing of warm ones. */
export class WarmTimes {
  readonly #cold = new Map<string, { readonly sinceMs: number; readonly wasLost: boolean }>();

  /** `nowMs`: when the line was logged. What it says of an image that has become warm. */
  note(line: LogLine, nowMs: number): Warmed | undefined {
    if (line.event === "image-lost") this.#begin(line.fields.image, nowMs, true);
    if (line.event === "image-unwanted") this.#cold.delete(line.fields.image ?? "");
    if (line.event !== "image-phase") return undefined;
    const { image = "", phase, source = "node" } = line.fields;
    if (phase !== "Warm") {
      this.#begin(image, nowMs, false);
      return undefined;
    }
    const cold = this.#cold.get(image);
    this.#cold.delete(image);
    return cold && { source, seconds: (nowMs - cold.sinceMs) / 1000, wasLost: cold.wasLost };
  }

  #begin(image = "", sinceMs: number, wasLost: boolean): void {
    const known = this.#cold.get(image);
    if (known === undefined && this.#cold.size >= maxTimed) return;
    this.#cold.set(image, { sinceMs: known?.sinceMs ?? sinceMs, wasLost: wasLost || known?.wasLost === true });
  }
}
