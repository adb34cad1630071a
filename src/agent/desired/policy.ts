import { durationMs, quantityBytes } from "../../kubernetes/quantities.ts";
import type { AgentSpec } from "../config/agent-config.ts";

/** What the decisions of a node depend on, in numbers. */
export type Policy = {
  readonly labels: Readonly<Record<string, string>>;
  /** Whether all images of a trusted disk are wanted, or only those that are listed. */
  readonly inject: "All" | "Listed";
  readonly diskFolders: readonly string[];
  readonly diskGraceMs: number;
  readonly removesReleased: boolean;
  /** Percent of bytes or inodes in use. */
  readonly highWater: number;
  readonly evictAbove: number;
  readonly bytesPerSecond: number | undefined;
  readonly parallelism: number;
  readonly parallelismPerRegistry: number;
  readonly keepPreviousMs: number;
};

export function policyOf({ labels, disks, limits, keepPrevious }: AgentSpec): Policy {
  return {
    labels,
    inject: disks.inject,
    diskFolders: disks.folders,
    diskGraceMs: durationMs(disks.grace),
    removesReleased: disks.removeReleased,
    highWater: limits.highWater,
    evictAbove: limits.evictAbove,
    bytesPerSecond: limits.bandwidth === undefined ? undefined : quantityBytes(limits.bandwidth),
    parallelism: limits.parallelism,
    parallelismPerRegistry: limits.parallelismPerRegistry,
    keepPreviousMs: durationMs(keepPrevious),
  };
}
