import { hash } from "node:crypto";
import { constants, openSync, readSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import type { CopyBatch, FromCopyWorker } from "./copy-protocol.ts";

// Copies blocks of an older disk into the new one: reads, compares with the digests, writes. Everything is synchronous, for the thread
// has nothing else to do.

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;
/** Leads to the older disk, which each thread opens for itself: each has its own readahead. */
const path: string = workerData;

/** Small enough that what is read is still in the processor's cache when it is hashed and written. */
const runBytes = 256 << 10;

/** A run has at least one piece, which may have 1 MiB. */
const buffer = new Uint8Array(1 << 20);

let input: number | undefined;

port.on("message", (batch: CopyBatch) => post(answer(batch)));

function post(message: FromCopyWorker): void {
  port.postMessage(message);
}

function answer(batch: CopyBatch): FromCopyWorker {
  try {
    input ??= openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const read: { start: number; end: number }[] = [];
    for (let first = 0; first < batch.count; ) {
      const end = endOfRun(batch, first);
      const corrupt = copyRun(input, batch, first, end);
      if (corrupt !== undefined) return { type: "corrupt", block: corrupt };
      const run = { start: batch.places[3 * first], end: endBlock(batch, end - 1) };
      const last = read.at(-1);
      if (last?.end === run.start) last.end = run.end;
      else read.push(run);
      first = end;
    }
    return { type: "copied", read };
  } catch (error) {
    const { message, code, syscall } = error as NodeJS.ErrnoException;
    return { type: "error", message, code, syscall };
  }
}

/** Behind a piece, on the older disk. */
const endBlock = ({ places }: CopyBatch, i: number): number => places[3 * i] + blocksOf(places[3 * i + 2]);

const blocksOf = (bytes: number): number => Math.ceil(bytes / blockBytes);

/** Behind the last piece that follows `first` on both disks. */
function endOfRun({ count, places }: CopyBatch, first: number): number {
  let blocks = blocksOf(places[3 * first + 2]);
  let end = first + 1;
  for (; end < count; end++) {
    const next = blocksOf(places[3 * end + 2]);
    const follows =
      places[3 * end] === places[3 * first] + blocks && places[3 * end + 1] === places[3 * first + 1] + blocks;
    if (!follows || (blocks + next) * blockBytes > runBytes) break;
    blocks += next;
  }
  return end;
}

/** Returns the first block of a piece that is not what its digest says; nothing of the run is written then. */
function copyRun(from: number, batch: CopyBatch, first: number, end: number): number | undefined {
  const { output, places, digests } = batch;
  const [fromBlock, toBlock] = [places[3 * first], places[3 * first + 1]];
  const blocks = endBlock(batch, end - 1) - fromBlock;
  const data = buffer.subarray(0, blocks * blockBytes);
  // What ends early is not what its digest says.
  data.fill(0, readAll(from, data, fromBlock * blockBytes));
  for (let i = first; i < end; i++) {
    const start = (places[3 * i] - fromBlock) * blockBytes;
    const stop = start + places[3 * i + 2];
    const digest = hash("sha256", data.subarray(start, stop), "buffer");
    if (digest.compare(digests, 32 * i, 32 * i + 32) !== 0) return places[3 * i];
    data.fill(0, stop, blocksOf(stop) * blockBytes);
  }
  for (let done = 0; done < data.length; )
    done += writeSync(output, data, done, data.length - done, toBlock * blockBytes + done);
  return undefined;
}

function readAll(from: number, data: Uint8Array, position: number): number {
  let done = 0;
  while (done < data.length) {
    const bytes = readSync(from, data, done, data.length - done, position + done);
    if (bytes === 0) break;
    done += bytes;
  }
  return done;
}
