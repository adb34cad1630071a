import type { BuildEvent } from "../../disk/build/contract.ts";
import type { Output } from "../command.ts";
import { formatBytes, formatCount, formatSeconds, shortDigest, shortImage } from "../format.ts";
import { BuildState, type DiskTotals, type RunningLayer } from "./build-state.ts";
import type { Progress } from "./progress.ts";

/** A layer that takes long says so this often: a log without a word looks like a hang. */
const reminderMs = 30_000;

/** One line where a layer starts, one where it ends: for logs. */
export class PlainProgress implements Progress {
  readonly #output: Output;
  readonly #now: () => number;
  readonly #remindedMs = new Map<string, number>();
  #state: BuildState | undefined;

  constructor(output: Output, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#now = now;
  }

  resolving(done: number, total: number): void {
    if (done === 0) this.#line(`resolving ${total} image${total === 1 ? "" : "s"}`);
  }

  begin(totals: DiskTotals): void {
    this.#state = new BuildState(totals, this.#now());
    this.#remindedMs.clear();
    this.#line(
      `building ${totals.path}: ${formatCount(totals.layers, "layer")}, ${formatBytes(totals.bytes)} compressed`,
    );
  }

  event(event: BuildEvent): void {
    const state = this.#state;
    if (state === undefined) return;
    const nowMs = this.#now();
    const layer = state.apply(event, nowMs);
    if (event.type === "phase") {
      if (event.phase === "metadata") this.#line("writing metadata");
      if (event.phase === "sync") this.#line("flushing to disk");
    } else if (layer !== undefined) {
      this.#layer(event.type, layer, nowMs);
    }
  }

  close(): void {
    this.#state = undefined;
  }

  #layer(type: "layer-start" | "layer-progress" | "layer-end", layer: RunningLayer, nowMs: number): void {
    const seconds = (nowMs - layer.startedMs) / 1000;
    const size = formatBytes(layer.sizeBytes);
    switch (type) {
      case "layer-start":
        this.#remindedMs.set(layer.diffID, nowMs);
        this.#line(
          `${this.#name(layer)}: ${layer.reused ? "from the older disk" : "reading"} ${size} (${shortImage(layer.image)})`,
        );
        return;
      case "layer-progress":
        if (nowMs - (this.#remindedMs.get(layer.diffID) ?? nowMs) < reminderMs) return;
        this.#remindedMs.set(layer.diffID, nowMs);
        this.#line(
          `${this.#name(layer)}: ${formatBytes(layer.bytes)} of ${size}, ${formatBytes(layer.rate.bytesPerSecond(nowMs))}/s`,
        );
        return;
      case "layer-end":
        this.#remindedMs.delete(layer.diffID);
        this.#line(`${this.#name(layer)}: done in ${formatSeconds(seconds)}`);
        return;
    }
  }

  #name({ number, diffID }: RunningLayer): string {
    return `layer ${number}/${this.#state?.totals.layers} ${shortDigest(diffID)}`;
  }

  #line(text: string): void {
    this.#output.write(`${text}\n`);
  }
}
