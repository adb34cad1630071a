import type { SeenDisk } from "../state/agent-state.ts";

/** What a thread is to read: the disk with this id, as long as it is what the stamp says. */
export type VerificationJob = {
  readonly path: string;
  readonly kind: "file" | "device";
  readonly stamp: SeenDisk;
  readonly id: string;
  /** It was read before, and the storage is to be asked for every byte. */
  readonly isAgain?: boolean;
};

/**
 * `broken`: its bytes are not what their digests say. `unreadable`: they could not be read, this time. `changed`: it became something else
 * meanwhile.
 */
export type Verdict =
  | { readonly type: "sound" }
  | { readonly type: "broken" | "unreadable" | "changed"; readonly reason: string };

/** `begun`: from now on the thread makes no call through koffi, in which it must not be terminated: that takes the process along. */
export type FromVerification =
  | { readonly type: "begun" }
  | { readonly type: "progress"; readonly share: number }
  | Verdict;
