import type { ImageObservation } from "../../runtime/image-keeper.ts";
import type { DiskStatus, User } from "../../runtime/runtime.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";
import type { SpaceUse } from "../space/space-gauge.ts";
import type { AgentParts } from "./parts.ts";

/** What there is on the node, as it was seen at one time. */
export type Sight = {
  readonly observation: ImageObservation;
  readonly found: readonly FoundDisk[];
  readonly injected: readonly DiskStatus[];
  readonly space: readonly SpaceUse[];
  readonly pressure: string;
  /** By path, of disks that were asked about; `undefined`: in vain. */
  readonly holders: ReadonlyMap<string, readonly User[] | undefined>;
};

/** Who holds a device is read from every process: not more often than this. */
const holdersMs = 10_000;

/** Looks at the node. What is dear to look at, the disks with all their links, is looked at only when something may have changed it. */
export class Looker {
  readonly #parts: AgentParts;
  readonly #holders = new Map<string, { readonly atMs: number; readonly users: readonly User[] | undefined }>();
  #injected: readonly DiskStatus[] | undefined;
  #distrusts = 0;

  constructor(parts: AgentParts) {
    this.#parts = parts;
  }

  /** The next look goes over all disks. */
  distrust(): void {
    this.#distrusts += 1;
    this.#injected = undefined;
  }

  /** It is asked who holds the disks `atRest`, by id. Throws what the runtime throws when it cannot be asked. */
  async look(signal: AbortSignal, atRest: ReadonlySet<string>): Promise<Sight> {
    const { keeper, disks, space, pressure } = this.#parts;
    const folders = [keeper.folders.blobs, keeper.folders.snapshots];
    const [observation, found, injected, uses, trouble] = await Promise.all([
      keeper.observe({ signal }),
      disks.find({ signal }),
      this.#status(signal),
      // Who fetches asks again, and does not without an answer.
      space.measure(folders).catch(() => []),
      pressure.measure(),
    ]);
    const holders = await this.#lookForHolders(found, atRest);
    return { observation, found, injected, space: uses, pressure: trouble, holders };
  }

  async #status(signal: AbortSignal): Promise<readonly DiskStatus[]> {
    if (this.#injected !== undefined) return this.#injected;
    const before = this.#distrusts;
    const injected = await this.#parts.runtime.status({ signal });
    // What came while it was looked may be missing from it.
    if (this.#distrusts === before) this.#injected = injected;
    return injected;
  }

  async #lookForHolders(found: readonly FoundDisk[], atRest: ReadonlySet<string>): Promise<Sight["holders"]> {
    const nowMs = this.#parts.clock.nowMs();
    const disks = new Map<string, string>();
    for (const { path, identity } of found)
      if (identity !== undefined && atRest.has(identity.id)) disks.set(path, identity.id);
    for (const path of this.#holders.keys()) if (!disks.has(path)) this.#holders.delete(path);
    for (const [path, id] of disks) {
      const last = this.#holders.get(path);
      if (last !== undefined && nowMs - last.atMs < holdersMs) continue;
      // What cannot be asked is not said to be free.
      const users = await this.#parts.holders.find(path, id).catch(() => undefined);
      this.#holders.set(path, { atMs: nowMs, users });
    }
    return new Map([...this.#holders].map(([path, { users }]) => [path, users]));
  }
}
