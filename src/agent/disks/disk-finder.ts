import type { Condition, OpenDisk } from "../../runtime/runtime.ts";

/** A disk, or what claims to be one, in a place that the agent looks at. */
export type FoundDisk = {
  /** Absolute path of the file or the block device. */
  readonly path: string;
  readonly kind: "file" | "device";
  /**
   * `trusted`: may be injected now. `checking`: its bytes are being read, or wait for it; without an `identity` it has not said yet what it is. `refused`: not trusted. `broken`: its bytes are
   * wrong or unreadable. A disk that was trusted and whose file changes is `checking` until it is known which of them it is.
   */
  readonly state: "trusted" | "checking" | "refused" | "broken";
  /** Why it is not trusted and what to do, for a person. Empty when it is. */
  readonly reason: string;
  /** What lets it in: its folder, or the entry of `disks.allow` that names it; empty where nothing does. Disks of one line replace each other within one entry only. */
  readonly trustEntry: string;
  /** Its bytes are not what they were when it was verified, or may not be: somebody writes or has written to it. */
  readonly isAltered?: boolean;
  /** What is to be known of one that is trusted. */
  readonly conditions?: readonly Condition[];
  /** Of a disk that is `checking`: how much of it has been read, from 0 to 1. */
  readonly checkedShare?: number;
  /**
   * What its index says; `undefined` where that was not or could not be read. Of a disk that is not trusted it proves nothing; of one
   * that is refused, `images` is empty.
   */
  readonly identity: DiskIdentity | undefined;
};

export type DiskIdentity = {
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  /** Unix seconds. */
  readonly createdSeconds: number;
  /** Images of the disk: what the names stand for. */
  readonly images: readonly { readonly names: readonly string[]; readonly digest: `sha256:${string}` }[];
};

/**
 * The disks that this node may inject. Only what is trusted is ever read in full; nothing is mounted here.
 * Files count when only root can write them and their folder; devices when the configuration names and allows them.
 */
export interface DiskFinder {
  /**
   * What is there now, by path. Returns without waiting for bytes, nor long for devices that do not answer: a disk not seen before is `checking` until they are verified in the
   * background, and then `changes` tells. What is gone is not listed.
   */
  find(options: { readonly signal: AbortSignal }): Promise<readonly FoundDisk[]>;
  /** One item whenever `find` may have another answer than at the call of this; ends without an error when `signal` aborts. */
  changes(options: { readonly signal: AbortSignal }): AsyncIterable<void>;
  /**
   * Opens a trusted disk for `Runtime.inject`; the caller closes it. Trust and the state of the file are looked at once more, at the
   * descriptor that is used. Throws `DiskError`, `HostError`; `AgentError` `not-found` or `not-trusted`.
   */
  open(path: string): Promise<OpenDisk>;
  /**
   * Removes the file of a disk that has been released, if `path` still is the trusted disk with this id. Throws `AgentError` `not-found` or
   * `not-trusted` (devices too), and what `unlink(2)` gives.
   */
  removeFile(path: string, id: string): Promise<void>;
  /** Ends what runs in the background. May be called twice. */
  close(): Promise<void>;
}
