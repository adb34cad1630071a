import { readFileSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

// For `node --import`: when the process ends, the most memory it had at once, in bytes, is in the file that NODEWARM_PEAK_FILE names.

const path = process.env.NODEWARM_PEAK_FILE;

if (isMainThread && path !== undefined) {
  process.on("exit", () => {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    writeFileSync(path, String(Number(peak) * 1024));
  });
}
