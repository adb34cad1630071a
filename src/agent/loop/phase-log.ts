import type { Digest } from "../../oci/descriptor.ts";
import type { Decision } from "../decide/decide.ts";
import type { Memory } from "../decide/memory.ts";
import type { World } from "../decide/world.ts";
import type { Log } from "../log-line.ts";
import type { ImagePhase } from "../status.ts";
import { sourceNames } from "./report.ts";

/** Since when wanted images are in the phases in which they are; logs what becomes of them. */
export class PhaseLog {
  readonly #log: Log;
  readonly #phases = new Map<string, { readonly phase: ImagePhase; readonly sinceMs: number }>();

  /** By name: the digest that is made warm before the name moves. */
  readonly #updates = new Map<string, Digest>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** By name. */
  get phases(): ReadonlyMap<string, { readonly phase: ImagePhase; readonly sinceMs: number }> {
    return this.#phases;
  }

  /** `before`: the memory before this world was noticed. */
  note(before: Memory, world: World, { images }: Decision): void {
    this.#noteLosses(before, world.memory);
    this.#noteUpdates(world);
    for (const name of this.#phases.keys()) {
      if (images.has(name)) continue;
      this.#phases.delete(name);
      this.#log({ event: "image-unwanted", fields: { image: name } });
    }
    this.#notePhases(world, images);
  }

  #noteLosses(before: Memory, { images }: Memory): void {
    for (const [image, { digest, disappearances }] of images) {
      if (disappearances > (before.images.get(image)?.disappearances ?? 0))
        this.#log({ event: "image-lost", fields: { image, ...(digest && { digest }) } });
    }
  }

  #noteUpdates({ desired }: World): void {
    const before = new Map(this.#updates);
    this.#updates.clear();
    for (const { name, next } of desired) {
      if (next === undefined) continue;
      this.#updates.set(name, next);
      if (before.get(name) !== next) this.#log({ event: "image-update", fields: { image: name, digest: next } });
    }
  }

  #notePhases({ desired, observation, nowMs }: World, images: Decision["images"]): void {
    const changed = desired.filter(({ name }) => images.get(name)?.phase !== this.#phases.get(name)?.phase);
    if (changed.length === 0) return;
    const origins = new Map(observation.images.map(({ name, origin }) => [name, origin]));
    for (const { name, wanted } of changed) {
      const verdict = images.get(name);
      if (verdict === undefined) continue;
      const { phase, reason } = verdict;
      this.#phases.set(name, { phase, sinceMs: nowMs });
      const origin = phase === "Warm" ? origins.get(name) : undefined;
      const fields = {
        image: name,
        ...(wanted && { digest: wanted.digest }),
        phase,
        ...(origin && { source: sourceNames[origin.from] }),
        ...(reason !== "" && { reason }),
      };
      this.#log({ event: "image-phase", fields });
    }
  }
}
