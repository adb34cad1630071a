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

export type FromVerification = { readonly type: "progress"; readonly share: number } | Verdict;

/** `stop` holds one 32-bit number in shared memory: other than 0 when nobody asks for the verdict any more. */
export type VerificationTask = { readonly job: VerificationJob; readonly stop: SharedArrayBuffer };
