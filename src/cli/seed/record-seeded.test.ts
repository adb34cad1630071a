import assert from "node:assert/strict";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { isSeeded } from "../../agent/disks/seen-disks.ts";
import { FolderState } from "../../agent/state/folder-state.ts";
import { recordSeeded } from "./record-seeded.ts";

const signal = AbortSignal.timeout(60_000);
const path = "/var/lib/nodewarm/disks/a.erofs";
const disk = { path, id: "a".repeat(64), line: "line", sequence: 1, sizeBytes: 4096, images: 1 };

async function rootFolder(scope: Scope): Promise<string> {
  const root = await temporaryDirectory(scope, "root");
  for (const folder of ["etc", "usr", "data"]) await mkdir(join(root, folder));
  await mkdir(join(root, "var/lib"), { recursive: true });
  // As the node has it: a link that would lead elsewhere on this machine.
  await symlink("/data", join(root, "var/lib/nodewarm"));
  return root;
}

test("the agent of a seeded node takes the disk for read, and keeps what its state had before", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootFolder(scope);
  const other = { ...disk, id: "b".repeat(64), path: "/var/lib/nodewarm/disks/b.erofs" };
  await recordSeeded({ root, disks: [other] }, signal);
  await recordSeeded({ root, disks: [disk] }, signal);
  const state = await FolderState.open(join(root, "data/state"), { signal });
  await state.close();
  assert.deepEqual(state.conditions, []);
  for (const each of [disk, other]) {
    const stamp = { path: each.path, device: "8:1", inode: "1", sizeBytes: 4096, ctimeNs: "1" };
    assert.equal(isSeeded(state.record, each.id, stamp), true);
    assert.equal(isSeeded(state.record, each.id, { ...stamp, sizeBytes: 8192 }), false);
  }
});

test("the state of an agent that runs is left to it", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootFolder(scope);
  const state = await FolderState.open(join(root, "data/state"), { signal });
  scope.defer(() => state.close());
  await recordSeeded({ root, disks: [disk] }, signal);
  assert.deepEqual(state.record.seededDisks, {});
});
