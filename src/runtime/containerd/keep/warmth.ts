import { stat, statfs } from "node:fs/promises";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { isDeviceGone } from "../../host/block-devices.ts";
import { decodeDeviceNumber } from "../../host/device-number.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { fsPath, type OwnedSnapshot } from "../owned-state.ts";
import { carrierName } from "../ownership.ts";
import { readLink } from "../status/snapshot-link.ts";
import type { DocumentCache } from "./document-cache.ts";

/** What warmth needs to know of a snapshot. */
export type SnapshotFacts = {
  readonly parent: string;
  readonly isCommitted: boolean;
  /** Where it is ours. */
  readonly owned: OwnedSnapshot | undefined;
};

/** The records of a namespace, at one moment or asked one by one. */
export type Lookup = {
  snapshot(name: string): Promise<SnapshotFacts | undefined>;
  /** Size of a blob; `undefined` when the namespace does not have it. */
  blobBytes(digest: Digest): Promise<number | undefined>;
};

/** What an image stands on. */
export type ImageState = {
  /** Why no container can start from it; empty when one can. */
  readonly missing: string;
  readonly config: Digest | undefined;
  /** Name of the snapshot that its containers stand on. */
  readonly top: Digest | undefined;
  /** Id of the disk that the top leads to. */
  readonly disk: string | undefined;
  /** When its config says that it was made, Unix seconds. */
  readonly createdSeconds: number | undefined;
};

const nothing = { config: undefined, top: undefined, disk: undefined, createdSeconds: undefined };

/** What leads to the snapshots of an image. */
type FoundConfig = Pick<ImageState, "top" | "createdSeconds"> & { readonly config: Digest };

/** EROFS_SUPER_MAGIC_V1 (Linux include/uapi/linux/magic.h). */
const erofsMagic = 0xe0f5e1e2;
const maxIndexDepth = 4;

/** Whether containers can start from images. What was found of a snapshot or a disk is not looked at again: make one for each look. */
export class Warmth {
  readonly #node: ContainerdNode;
  readonly #documents: DocumentCache;
  readonly #lookup: Lookup;
  readonly #signal: AbortSignal;
  readonly #links = new Map<string, Promise<string>>();
  readonly #mounted = new Map<string, Promise<boolean>>();

  constructor(node: ContainerdNode, documents: DocumentCache, lookup: Lookup, signal: AbortSignal) {
    this.#node = node;
    this.#documents = documents;
    this.#lookup = lookup;
    this.#signal = signal;
  }

  /** Throws `RuntimeError`, what `node:fs` gives, or the reason of the signal. */
  async of(target: Digest): Promise<ImageState> {
    const found = await this.#config(target, maxIndexDepth);
    if (typeof found === "string") return { ...nothing, missing: found };
    const { top } = found;
    if (top === undefined) return { ...nothing, ...found, missing: "" };
    const snapshot = await this.#lookup.snapshot(top);
    const missing = await this.#chainProblem(top);
    return { ...found, missing, disk: snapshot?.owned?.disk };
  }

  /** The config for the platform, or what is missing on the way to it. */
  async #config(digest: Digest, depth: number): Promise<FoundConfig | string> {
    const problem = await this.#blobProblem(digest);
    if (problem !== "") return problem;
    const document = await this.#documents.read(this.#node.in.content, digest, this.#signal);
    if (document === undefined) return `${digest} is not in the content store`;
    switch (document.kind) {
      case "unusable":
        return `${digest} cannot be used: ${document.reason}`;
      case "config":
        if (!document.isForPlatform) return `${digest} is for another platform`;
        return { config: digest, top: document.top, createdSeconds: document.createdSeconds };
      case "manifest":
        return depth === 0 ? `${digest} is nested too deep` : this.#config(document.config, 0);
      case "index": {
        if (depth <= 1) return `${digest} is nested too deep`;
        let first = "it has no image for this platform";
        for (const [i, child] of document.manifests.entries()) {
          const found = await this.#config(child, depth - 1);
          if (typeof found !== "string") return found;
          if (i === 0) first = found;
        }
        return first;
      }
    }
  }

  /** Whether the namespace has a blob, and its file is whole as far as its size says. */
  async #blobProblem(digest: Digest): Promise<string> {
    const bytes = await this.#lookup.blobBytes(digest);
    if (bytes === undefined) return `${digest} is not in the content store`;
    const path = `${this.#node.blobsFolder}/sha256/${digestHex(digest)}`;
    const size = await stat(this.#node.local(path)).then(
      (stats) => stats.size,
      (error) => {
        if (errorCode(error) === "ENOENT") return undefined;
        throw error;
      },
    );
    if (size === undefined) return `the file of ${digest} is gone`;
    return size === bytes ? "" : `the file of ${digest} has ${size} bytes instead of ${bytes}`;
  }

  /** All snapshots below stand with it. */
  async #chainProblem(top: string): Promise<string> {
    for (let name = top; name !== ""; ) {
      const snapshot = await this.#lookup.snapshot(name);
      if (snapshot === undefined || !snapshot.isCommitted) return `snapshot ${name} is gone`;
      const { owned, parent } = snapshot;
      if (owned !== undefined && (owned.role === "image" || owned.role === "layer")) {
        const problem = await this.#once(this.#links, name, () => this.#linkProblem(owned));
        if (problem !== "") return problem;
      }
      name = parent;
    }
    return "";
  }

  async #linkProblem(snapshot: OwnedSnapshot): Promise<string> {
    const { name, disk } = snapshot;
    const carrier = (await this.#lookup.snapshot(carrierName(disk)))?.owned;
    const link = await readLink(this.#node, snapshot, carrier);
    if (link === "node") return "";
    const isMounted = carrier !== undefined && (await this.#once(this.#mounted, disk, () => this.#isMounted(carrier)));
    if (!isMounted) return `disk ${disk.slice(0, 12)} is not mounted`;
    return link === "disk" ? "" : `the link of snapshot ${name} does not lead to disk ${disk.slice(0, 12)} (${link})`;
  }

  /** Disks alone are EROFS; what is beneath their mounts is not. One whose device is gone fails whoever starts from it. */
  async #isMounted(carrier: OwnedSnapshot): Promise<boolean> {
    const path = this.#node.local(fsPath(this.#node, carrier.number));
    try {
      const [{ type }, { dev }] = await Promise.all([statfs(path), stat(path)]);
      return type === erofsMagic && !(await isDeviceGone(decodeDeviceNumber(dev)));
    } catch {
      // Gone, or a device that answers nothing any more.
      return false;
    }
  }

  #once<Value>(known: Map<string, Promise<Value>>, key: string, find: () => Promise<Value>): Promise<Value> {
    const found = known.get(key) ?? find();
    known.set(key, found);
    return found;
  }
}
