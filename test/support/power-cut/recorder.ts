import { openSync, readSync, writeSync } from "node:fs";
import { callHere } from "../../../src/runtime/host/system-calls.ts";
import { encodeFlush, encodeWrite } from "./write-log.ts";

/**
 * `IMAGE POINT LOG SIZE`: shows the file IMAGE at the file POINT through FUSE, and appends every write and every flush that arrives there to
 * LOG before it is answered. Ends when POINT is unmounted. Each request is answered before the next is read, so the log has the true order.
 *
 * The protocol is that of include/uapi/linux/fuse.h, all in the byte order of the machine; a file system whose root is a regular file needs
 * no folders.
 */

const [image = "", point = "", logFile = "", size = ""] = process.argv.slice(2);

const operation = { forget: 2, getattr: 3, open: 14, read: 15, write: 16, release: 18, fsync: 20, flush: 25, init: 26 };
const interrupt = 36;
const batchForget = 42;

/** `struct fuse_in_header`, `struct fuse_out_header`. */
const inHeaderBytes = 40;
const outHeaderBytes = 16;
/** `struct fuse_write_in`. */
const writeHeaderBytes = 40;
const initBytes = 64;
const attributeBytes = 104;
const bigWrites = 1 << 5;
const maxWriteBytes = 128 << 10;
const regularFile = 0o100600;
const notImplemented = -38;

const device = openSync("/dev/fuse", "r+");
const content = openSync(image, "r+");
const log = openSync(logFile, "a");
callHere("mount", "recorder", point, "fuse", 0, `fd=${device},rootmode=100000,user_id=0,group_id=0,allow_other`);
writeSync(1, "ready\n");

const request = Buffer.alloc(maxWriteBytes + 8192);
for (;;) {
  let length: number;
  try {
    length = readSync(device, request);
  } catch (error) {
    // ENODEV: it was unmounted. ENOENT: a request was taken back before it was read.
    if (Object(error).code === "ENOENT") continue;
    break;
  }
  const code = request.readUInt32LE(4);
  if (code === operation.forget || code === batchForget || code === interrupt) continue;
  const answer = handle(code, request.subarray(inHeaderBytes, length));
  const body = typeof answer === "number" ? Buffer.alloc(0) : answer;
  const header = Buffer.alloc(outHeaderBytes);
  header.writeUInt32LE(outHeaderBytes + body.length, 0);
  header.writeInt32LE(typeof answer === "number" ? answer : 0, 4);
  request.copy(header, 8, 8, 16);
  writeSync(device, Buffer.concat([header, body]));
}

/** The body of the answer, or a negative number of errno. */
function handle(code: number, body: Buffer): Buffer | number {
  switch (code) {
    case operation.init:
      return initAnswer();
    case operation.getattr:
      return attributes();
    case operation.open:
      return Buffer.alloc(16);
    case operation.read: {
      const bytes = Buffer.alloc(body.readUInt32LE(16));
      return bytes.subarray(0, readSync(content, bytes, 0, bytes.length, Number(body.readBigUInt64LE(8))));
    }
    case operation.write: {
      const position = Number(body.readBigUInt64LE(8));
      const data = body.subarray(writeHeaderBytes, writeHeaderBytes + body.readUInt32LE(16));
      writeSync(log, encodeWrite(position, data));
      writeSync(content, data, 0, data.length, position);
      const written = Buffer.alloc(8);
      written.writeUInt32LE(data.length, 0);
      return written;
    }
    case operation.fsync:
      writeSync(log, encodeFlush());
      return 0;
    case operation.flush:
    case operation.release:
      return 0;
    default:
      return notImplemented;
  }
}

/** `struct fuse_init_out`, of protocol 7.31. */
function initAnswer(): Buffer {
  const answer = Buffer.alloc(initBytes);
  for (const [at, value] of [7, 31, maxWriteBytes, bigWrites].entries()) answer.writeUInt32LE(value, at * 4);
  answer.writeUInt32LE(maxWriteBytes, 20);
  answer.writeUInt32LE(1, 24);
  return answer;
}

/** `struct fuse_attr_out`: valid for ever, as nobody else changes the file. */
function attributes(): Buffer {
  const answer = Buffer.alloc(attributeBytes);
  answer.writeBigUInt64LE(1n << 30n, 0);
  answer.writeBigUInt64LE(1n, 16);
  answer.writeBigUInt64LE(BigInt(size), 24);
  answer.writeUInt32LE(regularFile, 76);
  answer.writeUInt32LE(1, 80);
  answer.writeUInt32LE(4096, 96);
  return answer;
}
