import type { DiskReader } from "../disk/reader/disk-reader.ts";
import type { Digest } from "../oci/descriptor.ts";
import type { DiskSource } from "./host/disk-source.ts";

/** A disk that is open, and where its bytes lie. */
export type OpenDisk = { readonly disk: DiskReader; readonly source: DiskSource };

/** Something that is not as one would wish, and the way out. `type` is a word for programs, such as `TagKept`. */
export type Condition = { readonly type: string; readonly message: string };

export type InjectOptions = {
  /** Normalised references of the images to inject; all of the disk when left out. */
  readonly images?: readonly string[];
  /** `default-only`: images without layer blobs are injected although another runtime handler uses another snapshotter. */
  readonly handlers: "all" | "default-only";
  /** Also moves tags that the node has with other digests and that Nodewarm did not set. */
  readonly force: boolean;
  /** Normalised references that stay as they are on the node, whether they are there or not; none when left out. */
  readonly keepTags?: readonly string[];
  /** False: returns when all images are usable, and leaves the chains below them to a later call. */
  readonly chains: boolean;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: InjectEvent) => void;
};

export type InjectEvent =
  /** An image can be started from now on. */
  | { readonly type: "image-usable"; readonly image: InjectedImage }
  /** Snapshots of chains that exist, of those that this call makes. */
  | { readonly type: "chains"; readonly done: number; readonly total: number };

export type InjectedImage = {
  readonly names: readonly string[];
  /** Digest of the target. */
  readonly digest: Digest;
  /** `present`: it was usable before, from the disk or otherwise. `skipped`: see the conditions. */
  readonly result: "injected" | "present" | "skipped";
  /** Whether pulls of images on the same layers find them. */
  readonly chain: "complete" | "pending";
  readonly conditions: readonly Condition[];
};

export type InjectReport = {
  readonly disk: string;
  readonly images: readonly InjectedImage[];
  /** Of the whole disk or runtime. */
  readonly conditions: readonly Condition[];
  /** Calls that changed the runtime's metadata, and what they come to in its transactions. */
  readonly calls: number;
  readonly transactions: number;
  readonly seconds: { readonly usable: number; readonly chains: number };
};

/** What stands on something of ours and is not ours. */
export type User = {
  readonly kind: "container" | "image" | "snapshot" | "process";
  /** Id of the container, name of the image or snapshot, pid and command of the process. */
  readonly name: string;
};

export type DiskStatus = {
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  /** Path that it was injected from. */
  readonly source: string;
  readonly isMounted: boolean;
  readonly images: readonly {
    readonly names: readonly string[];
    readonly digest: Digest;
    readonly chain: "complete" | "pending";
    readonly conditions: readonly Condition[];
  }[];
  readonly heldBy: readonly User[];
  readonly conditions: readonly Condition[];
};

export type EjectOptions = {
  /** Ids of disks; all that are injected when left out. */
  readonly disks?: readonly string[];
  /** Waits until nothing uses what is to go. */
  readonly wait: boolean;
  /** Copies the trees that are in use, so that they stay usable without the disk. */
  readonly materialize: boolean;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: EjectEvent) => void;
};

export type EjectEvent =
  | { readonly type: "waiting"; readonly users: readonly User[] }
  | { readonly type: "materializing"; readonly snapshot: string; readonly tree: string };

export type EjectReport = {
  readonly disks: readonly {
    readonly id: string;
    /** No mount namespace holds the device any more: it may be detached. */
    readonly isReleased: boolean;
    /** Who holds it, where it is not released. */
    readonly heldBy: readonly User[];
    readonly removedImages: number;
    readonly materialized: number;
  }[];
};

/**
 * One runtime whose images can lie on disks. Every method throws `RuntimeError` or `HostError`, may be called again after it failed or was
 * interrupted, and completes then what is half done; programs that call at once wait for each other.
 */
export interface Runtime {
  /** For messages, such as `containerd 2.4.2 (/run/containerd/containerd.sock, k8s.io)`. */
  readonly name: string;
  inject(disk: OpenDisk, options: InjectOptions): Promise<InjectReport>;
  /** Throws `RuntimeError` `failed-precondition`, which names the users, when something is in use and `options` do not say what then. */
  eject(options: EjectOptions): Promise<EjectReport>;
  status(options: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]>;
  close(): Promise<void>;
}
