import type { OpenDisk } from "../../runtime/runtime.ts";

/** A disk, or what claims to be one, in a place that the agent looks at. */
export type FoundDisk = {
  /** Absolute path of the file or the block device. */
  readonly path: string;
  readonly kind: "file" | "device";
  /** `trusted`: may be injected now. `checking`: its bytes are being read. `refused`: not trusted. `broken`: its bytes are wrong or unreadable. */
  readonly state: "trusted" | "checking" | "refused" | "broken";
  /** Why it is not trusted and what to do, for a person. Empty when it is. */
  readonly reason: string;
  /** What its index says; `undefined` where that could not be read. Of a disk that is not trusted it proves nothing. */
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
   * What is there now. Returns at once: a disk not seen before is `checking` until its bytes are verified in the background, and then
   * `changes` tells.
   */
  find(options: { readonly signal: AbortSignal }): Promise<readonly FoundDisk[]>;
  /** One item whenever `find` may have another answer; ends without an error when `signal` aborts. */
  changes(options: { readonly signal: AbortSignal }): AsyncIterable<void>;
  /** Opens a trusted disk for `Runtime.inject`; the caller closes it. Throws `DiskError`, `HostError`; `AgentError` `not-trusted`. */
  open(path: string): Promise<OpenDisk>;
  close(): Promise<void>;
}
