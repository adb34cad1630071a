const slash = 0x2f;
const dot = 0x2e;

/** Why a name cannot be used: it leaves the root. */
export const climbs = Symbol("climbs");

/**
 * Cleans a name lexically and takes it as relative to the root: no leading, double or trailing slashes, no `.`, `a/..` folded.
 * The root itself is empty. Returns `climbs` for names that go above the root. A view when there is nothing to clean within.
 */
export function cleanName(name: Uint8Array): Uint8Array | typeof climbs {
  let start = 0;
  let end = name.length;
  while (start < end && name[start] === slash) start++;
  while (end > start && name[end - 1] === slash) end--;
  while (name[start] === dot && (start + 1 === end || name[start + 1] === slash)) {
    start++;
    while (start < end && name[start] === slash) start++;
    if (start >= end) return name.subarray(0, 0);
  }
  const trimmed = start === 0 && end === name.length ? name : name.subarray(start, end);
  return isClean(trimmed) ? trimmed : foldDots(trimmed);
}

function isClean(name: Uint8Array): boolean {
  let componentStart = 0;
  for (let i = 0; i <= name.length; i++) {
    if (i < name.length && name[i] !== slash) continue;
    const length = i - componentStart;
    if (length === 0 && name.length > 0) return false;
    if (name[componentStart] === dot && (length === 1 || (length === 2 && name[componentStart + 1] === dot)))
      return false;
    componentStart = i + 1;
  }
  return true;
}

function foldDots(name: Uint8Array): Uint8Array | typeof climbs {
  const kept: string[] = [];
  for (const part of Buffer.from(name).toString("latin1").split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) return climbs;
  }
  return Buffer.from(kept.join("/"), "latin1");
}

/** Whether a path has a `..` anywhere. */
export function hasDotDot(path: Uint8Array): boolean {
  for (let i = 0; i + 1 < path.length; i++) {
    if (path[i] !== dot || path[i + 1] !== dot) continue;
    if ((i === 0 || path[i - 1] === slash) && (i + 2 === path.length || path[i + 2] === slash)) return true;
  }
  return false;
}

/** Directories above the last name of a clean path. */
export function depthOf(path: Uint8Array): number {
  let depth = 0;
  for (const byte of path) if (byte === slash) depth++;
  return depth;
}

// What follows works on latin1 text, absolute from the root, as resolving symbolic links needs it.

/** Joins and cleans to an absolute path; `..` stops at the root. */
export function joinAbsolute(...parts: readonly string[]): string {
  const kept: string[] = [];
  for (const part of parts.join("/").split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") kept.pop();
    else kept.push(part);
  }
  return `/${kept.join("/")}`;
}

/** Joins and cleans, keeping a relative path relative; `..` that climb stay in front. */
export function joinCleaned(first: string, second: string): string {
  const joined = first === "" ? second : `${first}/${second}`;
  if (joined.startsWith("/")) return joinAbsolute(joined);
  const kept: string[] = [];
  for (const part of joined.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else kept.push(part);
  }
  return kept.length === 0 ? "." : kept.join("/");
}
