import type { BuildEvent, BuildPhase } from "../../disk/build/contract.ts";
import { RateMeter } from "./rate-meter.ts";

export type DiskTotals = {
  /** Path of the disk. */
  readonly path: string;
  /** Distinct layers. */
  readonly layers: number;
  /** Their compressed size. */
  readonly bytes: number;
};

export type RunningLayer = {
  readonly diffID: string;
  readonly image: string;
  readonly sizeBytes: number;
  readonly reused: boolean;
  readonly startedMs: number;
  /** Position among all layers, from 1, in the order in which they were started. */
  readonly number: number;
  readonly rate: RateMeter;
  bytes: number;
};

/** What one build has done so far, kept from its events. Times in milliseconds of any one clock. */
export class BuildState {
  readonly totals: DiskTotals;
  readonly startedMs: number;
  readonly rate: RateMeter;
  readonly running = new Map<string, RunningLayer>();
  phase: BuildPhase | undefined;
  startedLayers = 0;
  doneLayers = 0;
  #doneBytes = 0;

  constructor(totals: DiskTotals, nowMs: number) {
    this.totals = totals;
    this.startedMs = nowMs;
    this.rate = new RateMeter(nowMs);
  }

  /** Compressed bytes read so far, or spared by the older disk. */
  get bytes(): number {
    let bytes = this.#doneBytes;
    for (const layer of this.running.values()) bytes += layer.bytes;
    return bytes;
  }

  /** Returns the layer that the event is about, if any. */
  apply(event: BuildEvent, nowMs: number): RunningLayer | undefined {
    if (event.type === "phase") {
      this.phase = event.phase;
      return undefined;
    }
    const layer = event.type === "layer-start" ? this.#start(event, nowMs) : this.running.get(event.diffID);
    if (layer === undefined) return undefined;
    if (event.type === "layer-progress") {
      layer.bytes = Math.min(event.bytes, layer.sizeBytes);
      layer.rate.update(layer.bytes, nowMs);
    } else if (event.type === "layer-end") {
      this.running.delete(event.diffID);
      this.doneLayers += 1;
      this.#doneBytes += layer.sizeBytes;
    }
    this.rate.update(this.bytes, nowMs);
    return layer;
  }

  #start(event: Extract<BuildEvent, { type: "layer-start" }>, nowMs: number): RunningLayer {
    this.startedLayers += 1;
    const { diffID, image, sizeBytes, reused } = event;
    const rate = new RateMeter(nowMs);
    const layer = { diffID, image, sizeBytes, reused, startedMs: nowMs, number: this.startedLayers, rate, bytes: 0 };
    this.running.set(diffID, layer);
    return layer;
  }
}
