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

/** Empty files `f/0`, `f/1`… in pieces of a thousand headers. */
export function* emptyFiles(count: number): Generator<Uint8Array> {
  const template = file("f/00000000");
  for (let first = 0; first < count; first += 1000) {
    const size = Math.min(1000, count - first);
    const piece = Buffer.alloc(size * 512);
    for (let index = 0; index < size; index++) {
      template.copy(piece, index * 512);
      const number = String(first + index).padStart(8, "0");
      piece.write(`f/${number}`, index * 512, "latin1");
      // The template's checksum is that of eight zeros.
      const digits = [...number].reduce((sum, digit) => sum + Number(digit), 0);
      const sum = Number.parseInt(template.toString("latin1", 148, 154), 8) + digits;
      piece.write(sum.toString(8).padStart(6, "0"), index * 512 + 148, "latin1");
    }
    yield piece;
  }
  yield end();
}
