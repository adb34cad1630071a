import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { processTree } from "../measure/process-tree.ts";

/** Of a process and all its descendants. */
export type MemoryUse = { readonly rssBytes: number; readonly pssBytes: number; readonly processes: number };

/** What runs did so far; differences tell. */
export type WorkDone = { readonly cpuSeconds: number; readonly wakeUps: number };

export function memoryUse(pid: number): MemoryUse {
  const pids = processTree(pid);
  const sum = (name: RegExp, file: string) =>
    pids.reduce((total, each) => total + Number(name.exec(read(`/proc/${each}/${file}`))?.[1] ?? 0) * 1024, 0);
  return {
    rssBytes: sum(/^Rss:\s+(\d+) kB/m, "smaps_rollup"),
    pssBytes: sum(/^Pss:\s+(\d+) kB/m, "smaps_rollup"),
    processes: pids.length,
  };
}

/** Highest memory of each process since `forgetPeaks`, added up. */
export function peakBytes(pid: number): number {
  return processTree(pid).reduce((total, each) => total + field(each, "status", /^VmHWM:\s+(\d+) kB/m) * 1024, 0);
}

/** Begins anew with the present memory (proc(5), `clear_refs`). */
export function forgetPeaks(pid: number): void {
  for (const each of processTree(pid)) writeFileSync(`/proc/${each}/clear_refs`, "5");
}

/** Bytes that a process and its living descendants caused to be written to storage (proc(5), `io`). */
export function treeWrittenBytes(pid: number): number {
  return processTree(pid).reduce((total, each) => total + field(each, "io", /^write_bytes: (\d+)/m), 0);
}

/** Time on a processor as the scheduler counts it, in nanoseconds, and how often a thread waited for something and was woken. */
export function workDone(pid: number): WorkDone {
  const tasks = processTree(pid).flatMap((each) =>
    list(`/proc/${each}/task`).map((task) => `/proc/${each}/task/${task}`),
  );
  const nanoseconds = tasks.map((task) => Number(read(`${task}/schedstat`).split(" ")[0]));
  const switches = tasks.map((task) =>
    Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(read(`${task}/status`))?.[1] ?? 0),
  );
  return { cpuSeconds: total(nanoseconds) / 1e9, wakeUps: total(switches) };
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function field(pid: number, file: string, pattern: RegExp): number {
  return Number(pattern.exec(read(`/proc/${pid}/${file}`))?.[1] ?? 0);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Ended meanwhile.
    return "";
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
