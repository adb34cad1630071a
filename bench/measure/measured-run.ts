import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { run } from "../suite/command.ts";
import { peakMemory, processSeconds, processTree, writtenFiles } from "./process-tree.ts";

/** What one run took. */
export type Usage = {
  readonly wallSeconds: number;
  /** User and system time. */
  readonly cpuSeconds: number;
  /** Sum over the processes of their highest resident memory. */
  readonly peakMemoryBytes: number;
};

export type ProgramUsage = Usage & {
  readonly stdout: string;
  /** Highest sum of allocated bytes of the files that were open for writing. */
  readonly peakScratchBytes: number;
  /** How many different files were written. */
  readonly scratchFiles: number;
};

const sampleMs = 20;
const samplesPerScratchSample = 5;

/** Writes out what is dirty and empties the page cache; needs root. */
export async function dropPageCache(): Promise<void> {
  await run("sync", []);
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** Runs a program to its end and watches it and its children. Throws with its stderr when it fails. */
export async function measureProgram(program: string, args: readonly string[]): Promise<ProgramUsage> {
  const cpuBefore = processSeconds(process.pid).children;
  const started = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  const watch = watchProgram(child);
  const [code] = await closed;
  const wallSeconds = (performance.now() - started) / 1000;
  watch.stop();
  if (code !== 0) {
    const said = Buffer.concat(errors).toString().slice(-4000);
    throw new Error(`${program} ${args.slice(0, 4).join(" ")}... failed (${code}): ${said}`);
  }
  return {
    wallSeconds,
    cpuSeconds: processSeconds(process.pid).children - cpuBefore,
    ...watch.peaks(),
    stdout: Buffer.concat(output).toString(),
  };
}

function watchProgram(child: ChildProcess) {
  const memory = new Map<number, number>();
  const seen = new Set<string>();
  let peakScratchBytes = 0;
  let samples = 0;
  const sample = () => {
    if (child.pid === undefined || child.exitCode !== null) return;
    const pids = processTree(child.pid);
    for (const pid of pids) memory.set(pid, Math.max(memory.get(pid) ?? 0, peakMemory(pid)));
    if (samples++ % samplesPerScratchSample !== 0) return;
    const files = new Map(pids.flatMap((pid) => [...writtenFiles(pid)]));
    for (const key of files.keys()) seen.add(key);
    peakScratchBytes = Math.max(
      peakScratchBytes,
      [...files.values()].reduce((sum, file) => sum + file.allocatedBytes, 0),
    );
  };
  const timer = setInterval(sample, sampleMs);
  return {
    stop: () => clearInterval(timer),
    peaks: () => ({
      peakMemoryBytes: [...memory.values()].reduce((sum, bytes) => sum + bytes, 0),
      peakScratchBytes,
      scratchFiles: seen.size,
    }),
  };
}
