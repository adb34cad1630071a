import { randomUUID } from "node:crypto";
import { chmod, chown, mkdir, rename, stat } from "node:fs/promises";
import type { Digest } from "../../../oci/descriptor.ts";
import type { ResolvedLayer } from "../../../oci/resolved-image.ts";
import { untilAborted } from "../../../oci/until-aborted.ts";
import { lockRemovableFile } from "../../host/file-lock.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { Labels } from "../client/label.ts";
import type { Mount } from "../client/snapshots.ts";
import { snapshotNumber } from "../inject/linked-snapshots.ts";
import { snapshotRefLabel } from "../ownership.ts";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import { isFrom, parseVersion } from "../version-number.ts";
import { applyLayer } from "./apply-layer.ts";
import type { FetchJob } from "./fetch-job.ts";
import { holdSnapshot } from "./held-snapshots.ts";
import { unpackingPrefix } from "./image-lease.ts";
import { unpackLockPath } from "./spool.ts";

type Layer = ResolvedLayer & { readonly index: number; readonly chainID: Digest; readonly parent: string };

/** A layer in an active snapshot that has no parent yet. */
type Ahead = { readonly key: string; readonly number: string };

/** Unpacks the layers of one image. */
export class Unpacker {
  readonly #job: FetchJob;
  /** By layer; resolved when its snapshot is there. */
  readonly #done: readonly PromiseWithResolvers<void>[];
  readonly #isDone: boolean[];
  /** Layers of an image that have been made by one tool are all alike. */
  #needsParents = false;

  /** `from`: the lowest layer whose snapshot is missing. */
  constructor(job: FetchJob, from: number) {
    this.#job = job;
    this.#done = job.chain.map(() => Promise.withResolvers<void>());
    this.#isDone = job.chain.map((_, i) => i < from);
    for (const { promise } of this.#done) promise.catch(() => {});
  }

  /**
   * Makes the snapshot of a layer whose blob is there, when that of the layer below is. Throws `RuntimeError`, `HostError`, `OciError`
   * `digest-mismatch`, or the reason of `signal`.
   */
  async unpack(index: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#unpack(this.#layer(index), signal);
      this.#isDone[index] = true;
      this.#done[index]?.resolve();
    } catch (error) {
      this.#done[index]?.reject(error);
      throw error;
    }
  }

  #layer(index: number): Layer {
    const { image, chain } = this.#job;
    const layer = image.layers[index];
    const chainID = chain[index];
    if (layer === undefined || chainID === undefined) throw new RangeError(`the image has no layer ${index}`);
    return { ...layer, index, chainID, parent: chain[index - 1] ?? "" };
  }

  async #unpack(layer: Layer, signal: AbortSignal): Promise<void> {
    const { spool } = this.#job;
    const below = layer.index === 0 || this.#isDone[layer.index - 1] === true;
    // Who has the lock of a chain waits for none but those of shorter chains.
    const lock = await lockRemovableFile(unpackLockPath(spool, layer.chainID), signal);
    try {
      if (await holdSnapshot(this.#job, layer.chainID)) return;
      const ahead = below || this.#needsParents ? undefined : await this.#unpackAhead(layer, signal);
      try {
        if (!below) await untilAborted(this.#done[layer.index - 1]?.promise ?? Promise.resolve(), signal);
        if (ahead === undefined) await this.#unpackOnParents(layer, signal);
        else await this.#giveParents(layer, ahead);
      } finally {
        if (ahead !== undefined) await this.#remove(ahead.key);
      }
    } finally {
      await lock.remove();
    }
  }

  /** As a pull does it. */
  async #unpackOnParents(layer: Layer, signal: AbortSignal): Promise<void> {
    const key = newKey();
    await this.#job.atStep("prepare");
    const mounts = await this.#prepare(key, layer);
    if (mounts === undefined) return;
    try {
      await applyLayer(this.#job, layer, mounts, signal);
    } catch (error) {
      await this.#remove(key);
      throw error;
    }
    await this.#commit(layer, key);
  }

  /**
   * Unpacks a layer while those below it still are: all that a layer takes from them is the attributes of folders that it does not bring itself
   * (containerd `pkg/archive/tar.go`, mkparent). In place of the layers below containerd is given something that is no folder, so that it
   * fails as soon as it looks there: what succeeds has not looked, and equals what it would have been on top of them. Of an overlay it
   * takes both from the options, and mounts nothing (`core/diff/apply/apply_linux.go`). `undefined` when it does look.
   */
  async #unpackAhead(layer: Layer, signal: AbortSignal): Promise<Ahead | undefined> {
    const { leased, node } = this.#job;
    const writer = leased.snapshotWriter(node.snapshotter);
    const key = newKey();
    await this.#job.atStep("prepare ahead");
    const number = snapshotNumber(await prepareSnapshot(node, writer, key));
    const folder = `${node.snapshotsFolder}/${number}`;
    // Options are separated by commas, and lower folders by colons.
    if (/[,:\\]/.test(folder)) {
      await this.#remove(key);
      return undefined;
    }
    const options = [`workdir=${folder}/work`, `upperdir=${folder}/fs`, "lowerdir=/dev/null"];
    try {
      await applyLayer(this.#job, layer, [{ type: "overlay", source: "overlay", target: "", options }], signal);
      return { key, number };
    } catch (error) {
      await this.#remove(key);
      signal.throwIfAborted();
      if (!isRuntimeError(error)) throw error;
      this.#needsParents ||= /not a directory/.test(error.message);
      return undefined;
    }
  }

  /** Moves what was unpacked ahead into a snapshot on top of the layer below. */
  async #giveParents(layer: Layer, ahead: Ahead): Promise<void> {
    const { node } = this.#job;
    const key = newKey();
    await this.#job.atStep("prepare");
    const mounts = await this.#prepare(key, layer);
    if (mounts === undefined) return;
    const to = node.local(`${node.snapshotsFolder}/${snapshotNumber(mounts)}/fs`);
    const from = node.local(`${node.snapshotsFolder}/${ahead.number}/fs`);
    // containerd gives the root of a layer the owner of the one below.
    const { uid, gid, mode } = await stat(to);
    await this.#job.atStep("move");
    await rename(from, to);
    await mkdir(from);
    await chown(to, uid, gid);
    await chmod(to, mode);
    await this.#commit(layer, key);
  }

  /** `undefined` when a snapshot of that name is there by now, and is held by the lease. */
  async #prepare(key: string, layer: Layer): Promise<readonly Mount[] | undefined> {
    const { leased, node } = this.#job;
    const writer = leased.snapshotWriter(node.snapshotter);
    try {
      return await prepareSnapshot(node, writer, key, {
        parent: layer.parent,
        labels: snapshotLabels(this.#job, layer),
      });
    } catch (error) {
      if (isRuntimeError(error, "already-exists")) return undefined;
      throw error;
    }
  }

  /** containerd makes its records durable, and not the tree: after a power cut an image must not start from an empty one. */
  async #commit(layer: Layer, key: string): Promise<void> {
    const { leased, node } = this.#job;
    const writer = leased.snapshotWriter(node.snapshotter);
    // Before the snapshot, for who goes on with this does not look at layers that have one.
    await this.#job.atStep("uncompressed label");
    await leased.contentManager.updateLabels(layer.descriptor.digest, { "containerd.io/uncompressed": layer.diffID });
    await this.#job.atStep("sync");
    await syncFilesystem(node.local(node.snapshotsFolder));
    await this.#job.atStep("commit");
    try {
      await writer.commit(layer.chainID, key, snapshotLabels(this.#job, layer));
    } catch (error) {
      await this.#remove(key);
      if (!isRuntimeError(error, "already-exists")) throw error;
      await holdSnapshot(this.#job, layer.chainID);
    }
  }

  /** What stays is collected with the lease. */
  async #remove(key: string): Promise<void> {
    const { leased, node } = this.#job;
    await leased
      .snapshotWriter(node.snapshotter)
      .remove(key)
      .catch(() => {});
  }
}

/** As a pull by this version of containerd sets them (`core/unpack/unpacker.go`). */
function snapshotLabels({ node }: FetchJob, { chainID, diffID, parent }: Layer): Labels {
  const version = parseVersion(node.version);
  const hasParent = version !== undefined && isFrom(version, [2, 3, 0]) && parent !== "";
  const hasDiffID = version !== undefined && isFrom(version, [2, 4, 0]);
  return {
    [snapshotRefLabel]: chainID,
    ...(hasDiffID && { "containerd.io/snapshot/diff-id": diffID }),
    ...(hasParent && { "containerd.io/snapshot/parent-chain-id": parent }),
  };
}

function newKey(): string {
  return `${unpackingPrefix}${randomUUID()}`;
}
