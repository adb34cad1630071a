import { dirname } from "node:path";
import type { Condition } from "../../runtime/runtime.ts";
import type { SeenDisk } from "../state/agent-state.ts";
import type { Candidate } from "./disk-candidates.ts";
import type { DiskIdentity, FoundDisk } from "./disk-finder.ts";
import type { Verification } from "./verification-queue.ts";

/** What was found out about a candidate; holds as long as its stamp does. */
export type Finding =
  | { readonly type: "sound"; readonly identity: DiskIdentity }
  /** It is asked what it is. */
  | { readonly type: "looking" }
  | { readonly type: "checking"; readonly identity: DiskIdentity; readonly verification: Verification }
  /** `retryAtMs`: of `performance.now()`, when it is looked at again although nothing has changed. */
  | {
      readonly type: "broken";
      readonly identity: DiskIdentity | undefined;
      readonly reason: string;
      /** Its bytes were read, and are wrong. */
      readonly isDamaged?: boolean;
      readonly retryAtMs?: number;
    }
  | { readonly type: "refused"; readonly identity: DiskIdentity | undefined; readonly reason: string }
  /** Somebody writes it. */
  | { readonly type: "busy"; readonly reason: string };

export type KnownDisk = {
  readonly kind: "file" | "device";
  readonly stamp: SeenDisk;
  /** When its bytes were written last, of a file: owner and mode leave that as it is. */
  readonly modifiedNs: bigint | undefined;
  /** This file or device was found sound at some time. */
  readonly wasVerified: boolean;
  /** It was verified, and written to since, or is being written to. */
  readonly isAltered: boolean;
  readonly finding: Finding;
};

/** What is known of a candidate from now on. `before`: what was known of its path. */
export function knownDisk(
  { kind, stamp, modifiedNs }: Pick<KnownDisk, "kind" | "stamp" | "modifiedNs">,
  finding: Finding,
  before: KnownDisk | undefined,
): KnownDisk {
  const isSame = before?.stamp.inode === stamp.inode && before.stamp.device === stamp.device;
  const wasVerified = finding.type === "sound" || (isSame && before.wasVerified);
  const isWritten = before?.modifiedNs !== modifiedNs || before?.stamp.sizeBytes !== stamp.sizeBytes;
  const isInDoubt = before?.isAltered === true || isWritten || finding.type === "busy";
  return {
    kind,
    stamp,
    modifiedNs,
    finding,
    wasVerified,
    isAltered: finding.type !== "sound" && wasVerified && isInDoubt,
  };
}

/** What the agent is told of a candidate. */
export function foundDisk(
  { path, kind, refusal, failure }: Candidate,
  known: Pick<KnownDisk, "finding" | "isAltered"> | undefined,
  allow: readonly string[],
  conditions: readonly Condition[] = [],
): FoundDisk {
  const finding = known?.finding;
  const isDamaged = finding?.type === "broken" && finding.isDamaged === true;
  const altered = known?.isAltered || isDamaged ? { isAltered: true } : {};
  if (refusal !== undefined)
    return { path, kind, state: "refused", reason: refusal, trustEntry: "", identity: undefined, ...altered };
  const identity = finding !== undefined && "identity" in finding ? finding.identity : undefined;
  const trustEntry = kind === "file" ? dirname(path) : (allowEntry(identity, allow) ?? "");
  const found = { path, kind, trustEntry, identity, ...altered };
  if (failure !== undefined) return { ...found, state: "broken", reason: failure };
  switch (finding?.type) {
    case "sound":
      return { ...found, state: "trusted", reason: "", ...(conditions.length > 0 && { conditions }) };
    case "checking": {
      const checkedShare = finding.verification.share;
      const reason = `${path} is read in full before its first use (${Math.floor(checkedShare * 100)} %)`;
      return { ...found, state: "checking", reason, checkedShare };
    }
    case "looking":
      return { ...found, state: "checking", reason: `${path} is asked what it is, and has not answered yet` };
    case "busy":
    case "refused":
      return { ...found, state: "refused", reason: finding.reason, trustEntry: "" };
    case "broken":
      return { ...found, state: "broken", reason: finding.reason };
    default:
      return { ...found, state: "broken", reason: `${path} could not be looked at` };
  }
}

/** Which entry of `disks.allow` lets a device's disk in. */
export function allowEntry(identity: DiskIdentity | undefined, allow: readonly string[]): string | undefined {
  return allow.find((entry) => entry === identity?.id || entry === identity?.line);
}
