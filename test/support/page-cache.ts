import { run } from "./processes.ts";

/** Pages of a file that are in the page cache, in 4 KiB, as `fincore` of util-linux tells. */
export async function cachedPages(path: string): Promise<number> {
  return Number((await run("fincore", ["--noheadings", "--output", "PAGES", path])).trim());
}

/** Asks the kernel to take a file's pages out of the page cache. */
export async function forgetPages(path: string): Promise<void> {
  await run("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"]);
}
