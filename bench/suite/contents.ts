import { createCipheriv, createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { type TarEntry, tarEnd, tarHeader, tarPadding } from "./tar-writer.ts";

/** Where the bytes of a generated file come from; the same spec gives the same bytes. */
export type ContentSpec =
  /** Incompressible. */
  | { readonly kind: "random"; readonly seed: string; readonly sizeBytes: number }
  /** Like 16-bit floats of a trained model: gzip takes off a quarter. */
  | { readonly kind: "weights"; readonly seed: string; readonly sizeBytes: number }
  /** A file that exists, with 8 bytes in every KiB replaced: compresses nearly as well, but equals no other file. */
  | { readonly kind: "variant"; readonly seed: string; readonly path: string; readonly sizeBytes: number }
  | { readonly kind: "text"; readonly text: string };

export type GeneratedFile = { readonly name: string; readonly content: ContentSpec; readonly mode?: number };

const pieceBytes = 1 << 20;

export function contentBytes(spec: ContentSpec): number {
  return spec.kind === "text" ? Buffer.byteLength(spec.text) : spec.sizeBytes;
}

/** The bytes of a spec, in pieces of at most 1 MiB that are not reused. */
export async function* content(spec: ContentSpec): AsyncGenerator<Buffer> {
  if (spec.kind === "text") yield Buffer.from(spec.text);
  else if (spec.kind === "variant") yield* variant(spec.path, spec.seed, spec.sizeBytes);
  else {
    const random = keyStream(spec.seed);
    for (let left = spec.sizeBytes; left > 0; left -= pieceBytes) {
      const piece = random(Math.min(left, pieceBytes));
      if (spec.kind === "weights") for (let at = 1; at < piece.length; at += 2) piece[at] = exponents[piece[at]];
      yield piece;
    }
  }
}

/** A layer's tar of files in the given order, each directory before what is in it. */
export async function* generatedTar(files: Iterable<GeneratedFile>): AsyncGenerator<Buffer> {
  const seen = new Set<string>();
  for (const file of files) {
    for (let at = file.name.indexOf("/"); at > 0; at = file.name.indexOf("/", at + 1)) {
      const name = file.name.slice(0, at + 1);
      if (seen.has(name)) continue;
      seen.add(name);
      yield tarHeader({ name, type: "directory" });
    }
    const sizeBytes = contentBytes(file.content);
    const entry: TarEntry = { name: file.name, type: "file", sizeBytes, ...(file.mode && { mode: file.mode }) };
    yield tarHeader(entry);
    yield* content(file.content);
    yield Buffer.alloc(tarPadding(sizeBytes));
  }
  yield tarEnd;
}

/** Pseudo-random bytes by AES in counter mode; each call gives the next ones. */
export function keyStream(seed: string): (sizeBytes: number) => Buffer {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16));
  const zeros = Buffer.alloc(pieceBytes);
  return (sizeBytes) => cipher.update(sizeBytes <= pieceBytes ? zeros.subarray(0, sizeBytes) : Buffer.alloc(sizeBytes));
}

/** Pseudo-random whole numbers below `bound` (at most 2^32). */
export function randomNumbers(seed: string): (bound: number) => number {
  const random = keyStream(seed);
  return (bound) => Math.floor((random(4).readUInt32LE() / 2 ** 32) * bound);
}

// Sign and exponent of values with a normal distribution around 0: few exponents take most of the space.
const exponents = Uint8Array.from({ length: 256 }, (_, index) => {
  const sign = index & 0x80;
  const rank = index & 0x7f;
  const exponent = rank < 58 ? 60 : rank < 96 ? 59 : rank < 115 ? 58 : rank < 123 ? 57 : rank < 126 ? 56 : 55;
  return sign | exponent;
});

async function* variant(path: string, seed: string, sizeBytes: number): AsyncGenerator<Buffer> {
  const random = keyStream(seed);
  const file = await open(path);
  try {
    for (let at = 0; at < sizeBytes; ) {
      const piece = Buffer.alloc(Math.min(pieceBytes, sizeBytes - at));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw new Error(`${path} is shorter than ${sizeBytes} bytes`);
      const changes = random(Math.ceil(bytesRead / 1024) * 8);
      for (let kib = 0; kib * 1024 < bytesRead; kib++) {
        const end = Math.min(bytesRead, kib * 1024 + 8);
        changes.copy(piece, kib * 1024, kib * 8, kib * 8 + end - kib * 1024);
      }
      yield piece.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}
