import assert from "node:assert/strict";
import { appendFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { DiskError } from "../../disk/disk-error.ts";
import { openDiskSource, readDiskSource } from "./disk-source.ts";

test("a file says which disk it holds and where that ends", async () => {
  await using scope = new AsyncDisposableStack();
  const { path, sizeBytes } = await makeSmallDisk(scope);
  await appendFile(path, Buffer.alloc(5000));
  const { disk, source } = await openDiskSource(path);
  scope.defer(() => disk.close());
  assert.deepEqual(source, {
    path,
    kind: "file",
    device: undefined,
    sizeBytes,
    id: disk.id,
    line: "test",
    sequence: source.sequence,
  });
  assert.match(source.id, /^[0-9a-f]{64}$/);
});

test("a block device does too", { skip: needs("losetup") }, async () => {
  await using scope = new AsyncDisposableStack();
  const file = await makeSmallDisk(scope);
  const path = await attachLoopDevice(scope, file.path);
  const source = await readDiskSource(path);
  const { id, line, sequence } = await readDiskSource(file.path);
  const device = { major: 7, minor: Number(path.slice("/dev/loop".length)) };
  assert.deepEqual(source, { path, kind: "block-device", device, sizeBytes: file.sizeBytes, id, line, sequence });
  assert.equal((await stat(path)).isBlockDevice(), true);
});

test("what is no disk is refused", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope, "source"), "file");
  await writeFile(path, Buffer.alloc(1 << 20));
  await assert.rejects(
    readDiskSource(path),
    (error: unknown) => error instanceof DiskError && error.code === "not-a-disk",
  );
});
