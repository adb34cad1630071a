import assert from "node:assert/strict";
import { link, readdir, stat, utimes, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { keptForMs, spoolPaths, sweepSpool, unpackLockPath } from "./spool.ts";
import { SpoolBlob } from "./spool-blob.ts";

const { signal } = new AbortController();

function layer(digit: string, size: number): Descriptor {
  return { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: `sha256:${digit.repeat(64)}`, size };
}

test("what somebody can go on with is kept for a day, all else is removed", async () => {
  await using scope = new AsyncDisposableStack();
  const spool = await temporaryDirectory(scope, "spool");
  const begin = async (descriptor: Descriptor) => {
    const blob = await SpoolBlob.open(spool, descriptor, signal);
    await blob.write(0, Buffer.from("beginning"));
    return blob;
  };
  const [fresh, old, busy] = [layer("a", 100), layer("b", 100), layer("c", 100)];
  await (await begin(fresh)).close("keep");
  await (await begin(old)).close("keep");
  const day = new Date(Date.now() - keptForMs - 1000);
  await utimes(spoolPaths(spool, old.digest).ranges, day, day);
  const held = await begin(busy);
  await utimes(spoolPaths(spool, busy.digest).ranges, day, day);
  // Halves of which the other is missing, and the lock of somebody who was killed.
  await writeFile(spoolPaths(spool, layer("d", 1).digest).data, "bytes");
  await writeFile(spoolPaths(spool, layer("e", 1).digest).ranges, "size 1\n");
  await writeFile(unpackLockPath(spool, fresh.digest), "");
  await sweepSpool(spool);
  const kept = [fresh, busy].flatMap(({ digest }) => Object.values(spoolPaths(spool, digest)));
  assert.deepEqual((await readdir(spool)).sort(), kept.map((path) => path.slice(spool.length + 1)).sort());
  await held.close("remove");
});

test("a blob goes on with the bytes that its list names, as far as they are there", async () => {
  await using scope = new AsyncDisposableStack();
  const spool = await temporaryDirectory(scope, "spool");
  const descriptor = layer("a", 30);
  const first = await SpoolBlob.open(spool, descriptor, signal);
  assert.equal(await first.write(0, Buffer.alloc(10)), 10);
  assert.equal(await first.write(5, Buffer.alloc(10)), 5);
  await first.write(20, Buffer.alloc(5));
  await first.close("keep");
  // Cut off in the middle of a line; nonsense; beyond the end.
  const { ranges } = spoolPaths(spool, descriptor.digest);
  await writeFile(ranges, "x y\n25 99\n27 2", { flag: "a" });
  const next = await SpoolBlob.open(spool, descriptor, signal);
  assert.equal(next.resumedBytes, 20);
  assert.deepEqual(next.missing(100), [
    { offset: 15, length: 5 },
    { offset: 25, length: 5 },
  ]);
  await next.close("keep");
  const other = await SpoolBlob.open(spool, { ...descriptor, size: 31 }, signal);
  assert.equal(other.resumedBytes, 0, "of another size");
  await other.close("remove");
  assert.deepEqual(await readdir(spool), []);
});

test("a file that has a second name is never written to", async () => {
  await using scope = new AsyncDisposableStack();
  const spool = await temporaryDirectory(scope, "spool");
  const descriptor = layer("a", 5);
  const first = await SpoolBlob.open(spool, descriptor, signal);
  await first.write(0, Buffer.from("whole"));
  await first.seal();
  await link(first.path, `${spool}/other`);
  await first.close("keep");
  const next = await SpoolBlob.open(spool, descriptor, signal);
  assert.notEqual((await stat(next.path)).ino, (await stat(`${spool}/other`)).ino);
  await next.close("remove");
  assert.equal((await stat(`${spool}/other`)).size, 5);
});
