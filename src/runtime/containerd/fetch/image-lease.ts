import { readdir, stat, utimes } from "node:fs/promises";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { lockRemovableFile, type RemovableLock } from "../../host/file-lock.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { keptForMs } from "./spool.ts";

/** On leases of fetches. Those of injections carry another, and are removed by whoever holds the lock of the node. */
const fetchLeaseLabel = "nodewarm.io/fetch";

/** Leases of fetches that ended early, newest first, that are kept for whoever goes on with them. */
const mostKeptLeases = 16;

/**
 * Holds what is fetched of an image until its records do. It has no end by the clock, and outlives a fetch that is killed: the next one of the
 * same image goes on under it. Who fetches an image holds the lock of a file in the spool.
 */
export class ImageLease {
  readonly id: string;
  readonly #node: ContainerdNode;
  readonly #lock: RemovableLock;

  private constructor(node: ContainerdNode, id: string, lock: RemovableLock) {
    this.id = id;
    this.#node = node;
    this.#lock = lock;
  }

  /** Whether somebody fetches this image, or did until he was killed. */
  static isLeft(node: ContainerdNode, spool: string, target: Digest): Promise<boolean> {
    return stat(lockPath(node, spool, leaseID(target))).then(
      () => true,
      () => false,
    );
  }

  /** Waits until nobody else fetches this image. Throws `RuntimeError`, or the reason of `signal`. */
  static async take(node: ContainerdNode, spool: string, target: Digest, signal: AbortSignal): Promise<ImageLease> {
    const id = leaseID(target);
    const path = lockPath(node, spool, id);
    const lock = await lockRemovableFile(path, signal);
    try {
      await utimes(path, new Date(), new Date());
      await node.in.leases.create(id, { [fetchLeaseLabel]: "true" });
    } catch (error) {
      if (!isRuntimeError(error, "already-exists")) {
        await lock[Symbol.asyncDispose]();
        throw error;
      }
    }
    return new ImageLease(node, id, lock);
  }

  /** Removes what earlier fetches under this lease did not get to commit. */
  async removeUnfinished(): Promise<void> {
    const type = `snapshots/${this.#node.snapshotter}`;
    const held = await this.#node.in.leaseResources.list(this.id);
    for (const { id } of held.filter((each) => each.type === type && each.id.startsWith(unpackingPrefix)))
      await unlessMissing(this.#node.snapshotWriter.remove(id));
  }

  /** `keep`: what was fetched is for the next one. Else what nothing refers to is collected. */
  async end(how: "keep" | "delete"): Promise<void> {
    if (how === "keep") {
      await this.#lock[Symbol.asyncDispose]();
      return;
    }
    // One that stays, because containerd is away, has no file any more, and goes with the next fetch.
    await this.#node.in.leases.delete(this.id).catch(() => {});
    await this.#lock.remove();
  }
}

/** Begins the keys of snapshots that layers are unpacked into. */
export const unpackingPrefix = "nodewarm/fetching/";

/** Deletes the leases of fetches that nobody goes on with: those of old, and the oldest of too many. */
export async function sweepLeases(node: ContainerdNode, spool: string, now = Date.now()): Promise<void> {
  const leases = await node.in.leases.list([`labels."${fetchLeaseLabel}"==true`]);
  const found = leases.map(async ({ id }) => {
    const stats = await stat(lockPath(node, spool, id)).catch(() => undefined);
    return { id, time: stats?.mtimeMs ?? 0 };
  });
  const newestFirst = (await Promise.all(found)).sort((a, b) => b.time - a.time);
  for (const [i, { id, time }] of newestFirst.entries()) {
    if (i < mostKeptLeases && now - time <= keptForMs) continue;
    const lock = await lockRemovableFile(lockPath(node, spool, id));
    if (lock === undefined) continue;
    try {
      await unlessMissing(node.in.leases.delete(id));
    } finally {
      await lock.remove();
    }
  }
  // The lease may be gone, with containerd's records, or never have been made.
  const known = new Set(leases.map(({ id }) => lockName(node, id)));
  for (const name of await readdir(spool)) {
    if (!name.startsWith(lockName(node, "")) || known.has(name)) continue;
    await (await lockRemovableFile(`${spool}/${name}`))?.remove();
  }
}

function leaseID(target: Digest): string {
  return `nodewarm-fetch-${digestHex(target)}`;
}

function lockPath(node: Pick<ContainerdNode, "namespace">, spool: string, id: string): string {
  return `${spool}/${lockName(node, id)}`;
}

/** Namespaces share the spool. */
function lockName({ namespace }: Pick<ContainerdNode, "namespace">, id: string): string {
  return `lease.${namespace}.${id}`;
}

async function unlessMissing(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isRuntimeError(error, "not-found")) throw error;
  }
}
