import { readFile } from "node:fs/promises";
import { callHere } from "./system-calls.ts";

/** include/uapi/asm-generic/mman-common.h: `MADV_DONTNEED`. */
const dontNeed = 4;

/**
 * Gives back what the C library keeps for later, and lets go of the pages of the program's and its libraries' files: Node needs a third of its
 * 120 MB to start and to compile, and little of that again. What is needed after all is mapped again from the page cache, page by page, as it was at
 * first. Does what it can where the kernel or the C library has no such call.
 */
export async function releaseMemory(): Promise<void> {
  try {
    callHere("malloc_trim", 0);
  } catch {
    // Not in every C library.
  }
  const text = await readFile("/proc/self/smaps", "utf8").catch(() => "");
  for (const { address, sizeBytes } of cleanFileMappings(text)) {
    try {
      callHere("madvise", address, sizeBytes, dontNeed);
    } catch {
      // Locked pages stay.
    }
  }
}

export type Mapping = { readonly address: bigint; readonly sizeBytes: number };

/**
 * Of `/proc/PID/smaps` (proc(5)) the parts of files that cannot be written and of which no page is a copy of its own: those come from the file again.
 * Where the dynamic linker has put addresses in, pages are copies, and would be lost.
 */
export function cleanFileMappings(smaps: string): readonly Mapping[] {
  const found: Mapping[] = [];
  let candidate: Mapping | undefined;
  for (const line of smaps.split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+)/.exec(line);
    if (head !== null) {
      const [from, to] = [BigInt(`0x${head[1]}`), BigInt(`0x${head[2]}`)];
      const isReadOnlyFile = /^r-[x-]p$/.test(head[3] ?? "") && head[4] !== "0";
      candidate = isReadOnlyFile ? { address: from, sizeBytes: Number(to - from) } : undefined;
    } else if (candidate !== undefined && /^Anonymous: +0 kB$/.test(line)) {
      found.push(candidate);
      candidate = undefined;
    }
  }
  return found;
}
