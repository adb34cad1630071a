import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { end, file, header } from "./tar-maker.ts";

/** Tars too large to be made in memory; each is written to a file, compressed or not. */

export async function writeTar(path: string, blocks: Iterable<Uint8Array>, gzip = false): Promise<void> {
  const sink = createWriteStream(path);
  if (gzip) await pipeline(Readable.from(blocks), createGzip({ level: 1 }), sink);
  else await pipeline(Readable.from(blocks), sink);
}

/** One file of zeros. */
export function* zeros(sizeBytes: number): Generator<Uint8Array> {
  yield header({ name: "zeros", size: sizeBytes });
  const piece = Buffer.alloc(1 << 20);
  for (let done = 0; done < sizeBytes; done += piece.length) yield piece;
  yield end();
}

/** Empty files `f/00000000`, `f/00000001`… in pieces of a thousand headers. Millions of them: each is the one before, counted up in place. */
export function* emptyFiles(count: number): Generator<Uint8Array> {
  const last = "f/0000000".length;
  const entry = file("f/00000000");
  let checksum = Number.parseInt(entry.toString("latin1", 148, 154), 8);
  for (let first = 0; first < count; first += 1000) {
    const size = Math.min(1000, count - first);
    const piece = Buffer.alloc(size * 512);
    for (let index = 0; index < size; index++) {
      for (let at = 153, rest = checksum; at >= 148; at--, rest >>= 3) entry[at] = 0x30 + (rest & 7);
      piece.set(entry, index * 512);
      let at = last;
      for (; entry[at] === 0x39; at--) {
        entry[at] = 0x30;
        checksum -= 9;
      }
      entry[at] = (entry[at] ?? 0) + 1;
      checksum++;
    }
    yield piece;
  }
  yield end();
}
