import { closeSync, openSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { seededRandom } from "../random.ts";

/** What a device was told, in order. A flush makes all that was written before it durable. */
export type LoggedRequest =
  | { readonly kind: "flush" }
  | { readonly kind: "write"; readonly position: number; readonly data: Buffer };

/** Position and length of the data; a flush has no data. */
const headerBytes = 12;

export function encodeWrite(position: number, data: Uint8Array): Buffer {
  const record = Buffer.alloc(headerBytes + data.length);
  record.writeBigUInt64LE(BigInt(position), 0);
  record.writeUInt32LE(data.length, 8);
  record.set(data, headerBytes);
  return record;
}

export function encodeFlush(): Buffer {
  return encodeWrite(0, Buffer.alloc(0));
}

export async function readWriteLog(path: string): Promise<LoggedRequest[]> {
  const bytes = await readFile(path);
  const requests: LoggedRequest[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 8);
    const data = bytes.subarray(at + headerBytes, at + headerBytes + length);
    const position = Number(bytes.readBigUInt64LE(at));
    requests.push(length === 0 ? { kind: "flush" } : { kind: "write", position, data });
    at += headerBytes + length;
  }
  return requests;
}

/**
 * Writes the first `count` requests over an image, as the device has it when the power goes after them. With `random` the device had a
 * cache: of what came after the last flush each write is lost or not, and those that are not may have come in any order.
 */
export function replay(
  requests: readonly LoggedRequest[],
  count: number,
  image: string,
  random?: ReturnType<typeof seededRandom>,
): void {
  const lastFlush = requests.slice(0, count).findLastIndex(({ kind }) => kind === "flush");
  const file = openSync(image, "r+");
  try {
    for (const [i, request] of requests.slice(0, count).entries()) {
      if (request.kind === "flush" || (random !== undefined && i > lastFlush && random(2) === 0)) continue;
      writeSync(file, request.data, 0, request.data.length, request.position);
    }
  } finally {
    closeSync(file);
  }
}
