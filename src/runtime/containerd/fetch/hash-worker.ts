import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { FromHashWorker, ToHashWorker } from "./hash-protocol.ts";

// Reads files that others write, as far as they are whole, and hashes them: what was just written comes from the page cache.

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;

type Work = { readonly fd: number; readonly hash: Hash; position: number };

const works = new Map<number, Work>();
const buffer = Buffer.allocUnsafeSlow(1 << 20);

port.on("message", (message: ToHashWorker) => {
  try {
    handle(message);
  } catch (error) {
    drop(message.id);
    post({ type: "failed", id: message.id, message: error instanceof Error ? error.message : String(error) });
  }
});

function handle(message: ToHashWorker): void {
  if (message.type === "begin") {
    drop(message.id);
    works.set(message.id, { fd: openSync(message.path, "r"), hash: createHash("sha256"), position: 0 });
    return;
  }
  const work = works.get(message.id);
  if (work === undefined) return;
  if (message.type === "advance") advance(work, message.end);
  if (message.type === "finish") post({ type: "digest", id: message.id, hex: work.hash.digest("hex") });
  if (message.type !== "advance") drop(message.id);
}

function advance(work: Work, end: number): void {
  while (work.position < end) {
    const bytes = readSync(work.fd, buffer, 0, Math.min(buffer.length, end - work.position), work.position);
    if (bytes === 0) throw new Error(`the file ends at ${work.position} instead of ${end}`);
    work.hash.update(buffer.subarray(0, bytes));
    work.position += bytes;
  }
}

function drop(id: number): void {
  const work = works.get(id);
  if (work !== undefined) closeSync(work.fd);
  works.delete(id);
}

function post(message: FromHashWorker): void {
  port.postMessage(message);
}
