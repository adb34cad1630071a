import { spawnSync } from "node:child_process";
import { openSync, read, statSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";

// A file system of FUSE (include/uapi/linux/fuse.h) with one folder of read-only files, disks by their numbers, whose reads are answered or
// not, as the parent says. It ends with its parent, and all that waits for it fails.

const [folder, ...paths] = process.argv.slice(2);
if (folder === undefined || process.send === undefined) throw new Error("runs only as a child");
const files = await Promise.all(
  paths.map(async (path) => ({ size: statSync(path).size, bytes: await open(path, "r") })),
);
/** By node: the root is 1. */
const fileOf = (node: number) => files[node - 2];

const operation = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  open: 14,
  read: 15,
  statfs: 17,
  init: 26,
  interrupt: 36,
} as const;
const batchForget = 42;
const opendir = 27;
const readdir = 28;
/** flush, release, releasedir, fsync, access. */
const empty: ReadonlySet<number> = new Set([25, 18, 29, 20, 34]);
const headerBytes = 40;
const noEntry = -2;
const notImplemented = -38;
const rootNode = 1;

const hanging = new Set<number>();
const held: { readonly node: number; readonly answer: () => void }[] = [];

const device = openSync("/dev/fuse", "r+");
const options = "fd=3,rootmode=40755,user_id=0,group_id=0,allow_other,ro";
const mounted = spawnSync("mount", ["-i", "-t", "fuse", "-o", options, "nodewarm-test", folder], {
  stdio: ["ignore", "ignore", "inherit", device],
});
if (mounted.status !== 0) throw new Error("mount has failed");

function reply(unique: bigint, error: number, body: Uint8Array = Buffer.alloc(0)): void {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeInt32LE(error, 4);
  head.writeBigUInt64LE(unique, 8);
  try {
    writeSync(device, Buffer.concat([head, body]));
  } catch {
    // Whoever asked was killed.
  }
}

function attributes(node: number): Buffer {
  const attr = Buffer.alloc(88);
  const isRoot = node === rootNode;
  const size = fileOf(node)?.size ?? 0;
  attr.writeBigUInt64LE(BigInt(node), 0);
  attr.writeBigUInt64LE(BigInt(size), 8);
  attr.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), 16);
  attr.writeUInt32LE(isRoot ? 0o40755 : 0o100444, 60);
  attr.writeUInt32LE(1, 64);
  attr.writeUInt32LE(4096, 80);
  return attr;
}

function whenAnswering(node: number, answer: () => void): void {
  if (hanging.has(node)) held.push({ node, answer });
  else answer();
}

function serve(request: Buffer): void {
  const opcode = request.readUInt32LE(4);
  const unique = request.readBigUInt64LE(8);
  const node = Number(request.readBigUInt64LE(16));
  switch (opcode) {
    case operation.forget:
    case operation.interrupt:
    case batchForget:
      return;
    case operation.init: {
      const body = Buffer.alloc(64);
      body.writeUInt32LE(7, 0);
      body.writeUInt32LE(31, 4);
      body.writeUInt32LE(131_072, 8);
      body.writeUInt16LE(64, 16);
      body.writeUInt16LE(48, 18);
      body.writeUInt32LE(4096, 20);
      body.writeUInt32LE(1, 24);
      reply(unique, 0, body);
      return;
    }
    case operation.lookup: {
      const number = Number(request.subarray(headerBytes, -1).toString());
      if (!Number.isInteger(number) || number >= files.length) {
        reply(unique, noEntry);
        return;
      }
      const body = Buffer.alloc(40);
      body.writeBigUInt64LE(BigInt(number + 2), 0);
      body.writeBigUInt64LE(3600n, 16);
      body.writeBigUInt64LE(3600n, 24);
      reply(unique, 0, Buffer.concat([body, attributes(number + 2)]));
      return;
    }
    case operation.getattr: {
      const body = Buffer.alloc(16);
      body.writeBigUInt64LE(3600n, 0);
      reply(unique, 0, Buffer.concat([body, attributes(node)]));
      return;
    }
    case operation.open: {
      const body = Buffer.alloc(16);
      // FOPEN_DIRECT_IO: the kernel remembers nothing of it.
      body.writeUInt32LE(1, 8);
      reply(unique, 0, body);
      return;
    }
    case opendir:
      reply(unique, 0, Buffer.alloc(16));
      return;
    case readdir:
      reply(unique, 0);
      return;
    case operation.statfs:
      reply(unique, 0, Buffer.alloc(80));
      return;
    case operation.read: {
      const position = Number(request.readBigUInt64LE(headerBytes + 8));
      const target = Buffer.alloc(request.readUInt32LE(headerBytes + 16));
      whenAnswering(node, () => {
        void fileOf(node)
          ?.bytes.read(target, 0, target.length, position)
          .then(({ bytesRead }) => reply(unique, 0, target.subarray(0, bytesRead)));
      });
      return;
    }
    default:
      reply(unique, empty.has(opcode) ? 0 : notImplemented);
      return;
  }
}

function listen(): void {
  read(device, Buffer.alloc(1 << 20), 0, 1 << 20, null, (error, length, request) => {
    // ENODEV: it was unmounted.
    if (error?.code === "ENODEV") process.exit(0);
    if (error === null) serve(request.subarray(0, length));
    listen();
  });
}

process.on("message", ({ number, hangs }: { readonly number: number; readonly hangs: boolean }) => {
  const node = number + 2;
  if (hangs) hanging.add(node);
  else hanging.delete(node);
  for (const each of held.splice(0)) whenAnswering(each.node, each.answer);
  process.send?.("done");
});
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
listen();
process.send("ready");
