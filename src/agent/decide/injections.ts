import type { DesiredImage } from "../desired/desired-images.ts";
import { digestOnDisk } from "../desired/wanted-digest.ts";
import type { UsableDisk } from "../desired/wanted-disks.ts";
import type { Action } from "./action.ts";
import { troubleOf } from "./away-disks.ts";
import { waitsForRegistry } from "./decide-resolve.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import { awayEndMs, isLeftToOthers, type View } from "./world.ts";

/** Gathers what is needed of each disk into one injection. */
export class Injections {
  readonly #view: View;
  readonly #plan: Plan;
  readonly #needs = new Map<string, DesiredImage[]>();
  readonly #verdicts = new Map<string, ImageVerdict>();

  constructor(view: View, plan: Plan) {
    this.#view = view;
    this.#plan = plan;
  }

  /** The image is to come from that disk. The verdict is there after `finish`. */
  need({ id }: UsableDisk, image: DesiredImage): () => ImageVerdict {
    const images = this.#needs.get(id);
    if (images === undefined) this.#needs.set(id, [image]);
    else images.push(image);
    return () => this.#verdicts.get(id) ?? verdict("Pending", "waits for its disk");
  }

  /** Disks come in the order in which images needed them, then those that nothing needs and that are wanted whole. */
  finish(): void {
    for (const { id, isWhole } of this.#view.usable) {
      if (isGivenUp(this.#view, id)) this.#needs.delete(id);
      else if ((isWhole || this.#isSilent(id)) && !this.#isInjected(id) && !this.#needs.has(id))
        this.#needs.set(id, []);
    }
    for (const [id, images] of this.#needs) {
      const disk = this.#view.usableById.get(id);
      if (disk === undefined) continue;
      const adding = this.#plan.add(this.#injection(disk, images));
      this.#verdicts.set(
        id,
        adding.state === "runs"
          ? verdict("Injecting", `comes from disk ${id.slice(0, 12)}`)
          : verdict("Failed", adding.failure.message),
      );
    }
    if (this.#needs.size === 0) this.#completeChains();
  }

  /** Tags that others have set are moved in a second step, once the disk is there: one at a time is forced, not a whole disk. */
  #injection(disk: UsableDisk, needing: readonly DesiredImage[]): Action {
    const { id, path } = disk;
    const isAll = disk.isWhole && !this.#isInjected(id);
    const isForced = !isAll && needing.every((image) => this.#moves(image));
    const now = isAll || isForced ? needing : needing.filter((image) => !this.#moves(image));
    const images = now.flatMap((image) => nameOnDisk(disk, image));
    const names = now.map(({ name }) => name);
    const keepTags = keptTags(this.#view, disk);
    return { type: "inject", disk: id, path, ...(!isAll && { images }), force: isForced, keepTags, names };
  }

  /** Whether a listed tag is taken from what others made of it. */
  #moves({ name, sets, wanted }: DesiredImage): boolean {
    const record = this.#view.records.get(name);
    return sets.length > 0 && record !== undefined && record.origin.from !== "disk" && record.digest !== wanted?.digest;
  }

  /** One disk at a time, when nothing else is to be injected. */
  #completeChains(): void {
    for (const { id, images, isMounted } of this.#view.injected) {
      const disk = this.#view.usableById.get(id);
      const pending = images.filter(({ chain }) => chain === "pending");
      if (disk === undefined || disk.isChecking || !isMounted || pending.length === 0) continue;
      const names = disk.images.flatMap((image) =>
        pending.some(({ digest }) => digest === image.digest) ? image.names.slice(0, 1) : [],
      );
      const action: Action = {
        type: "chains",
        disk: id,
        path: disk.path,
        ...(!disk.isWhole && { images: names }),
        keepTags: keptTags(this.#view, disk),
      };
      if (disk.isWhole || names.length > 0) {
        this.#plan.add(action);
        return;
      }
    }
  }

  /** One whose mount cannot be read has to be mounted anew. */
  #isInjected(id: string): boolean {
    return this.#view.statusById.get(id)?.isMounted === true && !this.#isSilent(id);
  }

  #isSilent(id: string): boolean {
    const status = this.#view.statusById.get(id);
    return status !== undefined && troubleOf(status) !== undefined;
  }
}

/** It is there, and its mount could not be read for too long, also when it was mounted anew. */
export function isGivenUp(view: View, id: string): boolean {
  return view.memory.awaySince.has(id) && awayEndMs(view, id) <= view.nowMs;
}

/** Names of a disk that are to stand for something else than it says, or that others have set and nobody lists. */
export function keptTags(view: View, disk: Pick<UsableDisk, "images">): readonly string[] {
  return view.desired.flatMap((image) => {
    const { name, wanted } = image;
    const digest = digestOnDisk(disk, name);
    if (digest === undefined) return [];
    const isOthers = isLeftToOthers(view, image) || waitsForRegistry(view, image);
    return digest !== wanted?.digest || isOthers ? [name] : [];
  });
}

/** A name by which the disk knows the image: its own, else one of the same digest. */
function nameOnDisk(disk: UsableDisk, { name, wanted }: DesiredImage): readonly string[] {
  const image = disk.images.find(({ digest }) => digest === wanted?.digest);
  if (image === undefined) return [];
  return image.names.includes(name) ? [name] : image.names.slice(0, 1);
}
