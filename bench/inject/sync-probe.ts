import { randomBytes } from "node:crypto";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { median } from "../measure/statistics.ts";

const rounds = 200;
const pageBytes = 4096;

/** Median milliseconds of an fdatasync after one page was overwritten, as bolt does it, on the file system of a folder. */
export function syncMilliseconds(folder: string): number {
  const directory = mkdtempSync(join(folder, "nw-sync-"));
  const file = openSync(join(directory, "probe"), "w");
  try {
    const pages = 64;
    writeSync(file, Buffer.alloc(pages * pageBytes));
    fdatasyncSync(file);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      writeSync(file, randomBytes(pageBytes), 0, pageBytes, (round % pages) * pageBytes);
      const started = performance.now();
      fdatasyncSync(file);
      times.push(performance.now() - started);
    }
    return median(times);
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true, force: true });
  }
}
