import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** `/proc/PID/stat` counts in these on every Linux that Node runs on (`USER_HZ`). */
const ticksPerSecond = 100;

/** A process and all its descendants, as far as they still run. */
export function processTree(pid: number): number[] {
  const found = [pid];
  for (let index = 0; index < found.length; index++) {
    for (const thread of list(`/proc/${found[index]}/task`)) {
      const children = read(`/proc/${found[index]}/task/${thread}/children`).trim();
      if (children !== "") found.push(...children.split(" ").map(Number));
    }
  }
  return found;
}

/** Peak resident memory of a process so far; 0 when it is gone. */
export function peakMemory(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

/** User and system seconds of a process and of the children it waited for. */
export function processSeconds(pid: number): { own: number; children: number } {
  const stat = read(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything; fields 14 to 17 follow it.
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  return { own: (fields[11] + fields[12]) / ticksPerSecond, children: (fields[13] + fields[14]) / ticksPerSecond };
}

/** Regular files that a process has open for writing, by inode, with their allocated bytes. */
export function writtenFiles(pid: number): Map<string, { path: string; allocatedBytes: number }> {
  const files = new Map<string, { path: string; allocatedBytes: number }>();
  for (const fd of list(`/proc/${pid}/fd`)) {
    try {
      const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (!path.startsWith("/") || path.startsWith("/dev/") || path.startsWith("/memfd:")) continue;
      const stats = statSync(`/proc/${pid}/fd/${fd}`);
      const flags = Number.parseInt(/^flags:\s+(\d+)/m.exec(read(`/proc/${pid}/fdinfo/${fd}`))?.[1] ?? "0", 8);
      if (!stats.isFile() || (flags & 3) === 0) continue;
      files.set(`${stats.dev}:${stats.ino}`, { path, allocatedBytes: stats.blocks * 512 });
    } catch {
      // Closed since the folder was read.
    }
  }
  return files;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
