import type { DiskStatus } from "../../runtime/runtime.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";

/** Why an injected disk can no longer be relied on. */
export type Away = {
  /** For a person. */
  readonly reason: string;
  /** What is mounted is not what was verified: nothing may start from it, now. Else its bytes are as they were, or cannot be read at all. */
  readonly isWrong: boolean;
};

/** Conditions of a disk whose mount answers nothing, or with another disk. */
const unreadable: ReadonlySet<string> = new Set(["Unreadable", "WrongDisk"]);

/** `undefined` when it can be relied on: the same disk is found and trusted, and its mount can be read. */
export function awayOf(status: DiskStatus, found: readonly FoundDisk[]): Away | undefined {
  const away = missed(status, found);
  const trouble = troubleOf(status);
  if (trouble === undefined) return away;
  return { reason: away?.reason ?? trouble.message, isWrong: away?.isWrong === true || trouble.type === "WrongDisk" };
}

/** What the places where disks are found say against one. */
function missed({ id, source, conditions, isMounted }: DiskStatus, found: readonly FoundDisk[]): Away | undefined {
  const same = found.filter(({ identity, path }) => identity?.id === id || path === source);
  if (same.some(({ state, identity }) => state === "trusted" && identity?.id === id)) return undefined;
  const isRelied = ({ state, identity, isAltered }: FoundDisk) =>
    state === "checking" && isAltered !== true && (identity?.id ?? id) === id;
  if (isMounted && same.some(isRelied)) return undefined;
  const problem = same.find(({ path }) => path === source) ?? same[0];
  if (problem === undefined) return { reason: `disk ${id.slice(0, 12)} is no longer at ${source}`, isWrong: false };
  // A file that was put in the place of the one that is mounted says nothing of that.
  const isItself = problem.path === source && !conditions.some(({ type }) => type === "SourceMissing");
  const isOther = problem.identity !== undefined && problem.identity.id !== id;
  const reason = isOther
    ? `disk ${problem.identity.id.slice(0, 12)} is at ${problem.path} now`
    : `${problem.path} is ${problem.state}: ${problem.reason}`;
  return { reason, isWrong: isItself && problem.isAltered === true };
}

/** What the mount of a disk says when it cannot be read; it is mounted anew where the disk is trusted all the same. */
export function troubleOf({ isMounted, conditions }: DiskStatus): DiskStatus["conditions"][number] | undefined {
  return isMounted ? conditions.find(({ type }) => unreadable.has(type)) : undefined;
}

/** What the finder says of the very file or device that a disk is injected from: it is told of with the disk. */
export function isSameDisk({ id, source }: DiskStatus, { path, identity }: FoundDisk): boolean {
  return path === source && (identity === undefined || identity.id === id);
}
