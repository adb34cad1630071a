import type { DiskStatus } from "../../runtime/runtime.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";

/** Why an injected disk can no longer be relied on; `undefined` when it can: the same disk is found and trusted. */
export function awayReason(status: DiskStatus, found: readonly FoundDisk[]): string | undefined {
  const same = found.filter(({ identity, path }) => identity?.id === status.id || path === status.source);
  if (same.some(({ state, identity }) => state === "trusted" && identity?.id === status.id)) return undefined;
  if (same.some(({ state, identity }) => state === "checking" && (identity?.id ?? status.id) === status.id))
    return undefined;
  const [problem] = same.filter(({ state }) => state === "refused" || state === "broken");
  if (problem !== undefined) return `${problem.path} is ${problem.state}: ${problem.reason}`;
  return `disk ${status.id.slice(0, 12)} is no longer at ${status.source}`;
}
