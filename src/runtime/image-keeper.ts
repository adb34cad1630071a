import type { Credential } from "../oci/credentials/credential.ts";
import type { Digest, Platform } from "../oci/descriptor.ts";
import type { ResolvedImage } from "../oci/resolved-image.ts";
import type { Condition, User } from "./runtime.ts";

/** Who made an image record: a disk by injection, Nodewarm by fetching, or anybody else. */
export type ImageOrigin =
  | { readonly from: "disk"; readonly disk: string }
  | { readonly from: "fetch" }
  | { readonly from: "elsewhere" };

/** The record of one name. */
export type NodeImage = {
  /** Normalised reference with a tag, or `repository@digest`. Records named by a bare digest are left out. */
  readonly name: string;
  /** Digest of the target. */
  readonly digest: Digest;
  readonly origin: ImageOrigin;
  /** kubelet leaves it alone. */
  readonly isPinned: boolean;
};

/** What a runtime has of one digest that some record stands for. */
export type NodeContent = {
  readonly digest: Digest;
  /** Whether a container can start without fetching a byte. */
  readonly isWarm: boolean;
  /** Why not, for a person. Empty when it is warm. */
  readonly missing: string;
  /** Containers, exited ones too, that stand on its snapshots. */
  readonly users: readonly User[];
  /** When the image says that it was made, Unix seconds; left out where it does not say, or says 0 as builds do that are to be the same again. */
  readonly createdSeconds?: number;
};

/** One look at the images of a runtime. */
export type ImageObservation = {
  readonly images: readonly NodeImage[];
  readonly contents: ReadonlyMap<Digest, NodeContent>;
};

export type ImageChange =
  /** From now on nothing is missed; what was before is only to be seen by `observe`. Comes first, and again after each new connection. */
  | { readonly type: "listening" }
  /** The record of a name, or the snapshots or blobs under it (then without a name), changed, by whomsoever. */
  | { readonly type: "changed"; readonly name?: string }
  /** The runtime ended or hangs; `listening` follows when it is back. */
  | { readonly type: "lost"; readonly message: string };

export type FetchOptions = {
  readonly signal: AbortSignal;
  /** How far it is, in bytes of layers as they are fetched. */
  readonly onProgress?: (progress: FetchProgress) => void;
  /** Asked before each piece of at most a few MiB; resolves when that many bytes may be fetched. Rejects to end the fetch. */
  readonly admit?: (bytes: number) => Promise<void>;
  /** Asked before each layer is unpacked; what it gives is called when that is over. Rejects to end the fetch. */
  readonly admitUnpack?: (signal: AbortSignal) => Promise<() => void>;
  /** For runtimes that fetch themselves. */
  readonly credential?: Credential;
};

export type FetchProgress = {
  /** That came in. */
  readonly fetchedBytes: number;
  /** That were there already, in a blob, a spool or a snapshot. */
  readonly presentBytes: number;
  /** Of layers whose contents are in their place, however they came; those of others are still to take their room. */
  readonly unpackedBytes: number;
  /** That all layers have together. */
  readonly totalBytes: number;
};

export type FetchReport = {
  /** `present`: nothing was to do. */
  readonly result: "fetched" | "present";
  readonly fetchedBytes: number;
  /** Compressed, of layers that were not fetched because a disk has them; 0 where the runtime fetches. */
  readonly diskBytes: number;
  readonly fetchedLayers: number;
  readonly presentLayers: number;
  readonly conditions: readonly Condition[];
};

/** The file systems that images of a runtime fill, as paths that this program reaches. */
export type ImageFolders = { readonly blobs: string; readonly snapshots: string };

/**
 * The images of one runtime, to be kept warm. Every method throws `RuntimeError` or `HostError`, may be called again after it failed or
 * was interrupted, and completes then what is half done. Nothing that others brought is ever removed or moved unless a method says so.
 */
export interface ImageKeeper {
  /** For messages: the same as that of the `Runtime` beside it. */
  readonly name: string;
  /** Which image of an index the runtime takes. */
  readonly platform: Platform;
  /**
   * `runtime`: fetching is left to the runtime's own pull: no resume, no layers from disks, no bandwidth limit, and counted as if no layer had
   * been there.
   */
  readonly fetchedBy: "nodewarm" | "runtime";
  readonly folders: ImageFolders;

  observe(options: { readonly signal: AbortSignal }): Promise<ImageObservation>;

  /** Goes on through restarts of the runtime, until `signal` aborts (it ends then without an error) or the caller breaks off. */
  changes(options: { readonly signal: AbortSignal }): AsyncIterable<ImageChange>;

  /**
   * Makes an image warm, pinned where the runtime knows that, under `repository@digest` of `repository` (`host/path`); no tag is touched.
   * Layers that the node or a disk has are not fetched. Throws `OciError` too.
   */
  fetch(image: ResolvedImage, repository: string, options: FetchOptions): Promise<FetchReport>;

  /**
   * Points a name at a digest that is warm, and pins it; moves it whoever set it, and it is ours then. One that others set to this digest
   * stays theirs. No-op when it is so. Throws `failed-precondition` when the digest is not warm.
   */
  setName(name: string, digest: Digest, options: { readonly signal: AbortSignal }): Promise<void>;

  /**
   * Lets go of a name. `remove`: the record goes where Nodewarm made it and nobody set it again; what no other record and no
   * container needs is then collected by the runtime. `unpin`: it stays, as any image that was pulled. A name that is not ours stays, and
   * loses the pin that Nodewarm gave it. No-op when there is no such name.
   */
  release(name: string, how: "remove" | "unpin", options: { readonly signal: AbortSignal }): Promise<void>;

  /**
   * Cuts the runtime off from a disk that cannot be relied on: what another disk that is mounted holds too is led there (where the runtime is
   * a containerd), and the mounts of this one are taken out of sight, but for those that other runtimes use. Nothing starts from it any more, and
   * what runs keeps what it has. Its names stay, and its next injection mounts it again. No-op when it is not mounted.
   */
  cutOff(disk: string, options: { readonly signal: AbortSignal }): Promise<void>;

  /**
   * Removes what fetches that ended early left, and nobody goes on with: what is old, or too much; everything but what is being fetched when
   * `isTight`. No-op where the runtime fetches itself.
   */
  tidy(options: { readonly isTight: boolean; readonly signal: AbortSignal }): Promise<void>;

  close(): Promise<void>;
}
