import { readFileSync, statfsSync } from "node:fs";
import { arch, cpus, loadavg, release, totalmem } from "node:os";
import { run } from "../suite/command.ts";

/** What the figures of a run depend on. */
export type Machine = {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly system: string;
  readonly fileSystem: string;
  readonly freeBytes: number;
  readonly node: string;
  /** Over one, five and fifteen minutes, before the first run. */
  readonly loadAverage: readonly number[];
};

export async function describeMachine(work: string): Promise<Machine> {
  const { bavail, bsize } = statfsSync(work);
  return {
    processor: `${cpus()[0]?.model.trim() ?? "unknown"} (${arch()})`,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown",
    fileSystem: (await run("stat", ["-f", "-c", "%T", work])).trim(),
    freeBytes: bavail * bsize,
    node: process.version,
    loadAverage: loadavg(),
  };
}
