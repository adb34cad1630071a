import assert from "node:assert/strict";
import { chmod, copyFile, open, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { AgentError, type AgentErrorCode } from "../../src/agent/agent-error.ts";
import type { DiskFinder, FoundDisk } from "../../src/agent/disks/disk-finder.ts";

/** Waits until what is found fits; throws with what was found last. */
export async function findUntil(
  finder: DiskFinder,
  fits: (found: readonly FoundDisk[]) => boolean,
  timeoutMs = 120_000,
): Promise<readonly FoundDisk[]> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), timeoutMs);
  let last: readonly FoundDisk[] = [];
  try {
    const changes = finder.changes({ signal: stop.signal });
    last = await finder.find({ signal: stop.signal });
    if (fits(last)) return last;
    for await (const _ of changes) {
      last = await finder.find({ signal: stop.signal });
      if (fits(last)) return last;
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  throw new Error(`waited ${timeoutMs} ms in vain; found ${JSON.stringify(last, undefined, 1)}`);
}

/** Waits until a path is in a state; that disk. */
export async function findState(finder: DiskFinder, path: string, state: FoundDisk["state"]): Promise<FoundDisk> {
  const at = (found: readonly FoundDisk[]) => found.find((disk) => disk.path === path);
  const found = at(await findUntil(finder, (all) => at(all)?.state === state));
  assert.ok(found);
  return found;
}

/** As a person should deliver a disk: under another name, and then by rename. */
export async function deliver(disk: string, path: string): Promise<string> {
  const partial = join(dirname(path), `.${basename(path)}.partial`);
  await copyFile(disk, partial);
  await chmod(partial, 0o644);
  await rename(partial, path);
  return path;
}

/** Changes one byte of a file in place. */
export async function spoilByte(path: string, position: number): Promise<void> {
  const handle = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, position);
    await handle.write(Buffer.from([byte.readUInt8() ^ 0xff]), 0, 1, position);
  } finally {
    await handle.close();
  }
}

/** For `assert.rejects`. */
export function failsAs(code: AgentErrorCode, text = ""): (error: unknown) => boolean {
  return (error) => error instanceof AgentError && error.code === code && error.message.includes(text);
}
