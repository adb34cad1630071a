import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { addMountUser, mountUsers, removeMountUser } from "./mount-users.ts";

test("a mount is needed until its last user is gone, however often each was added", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await temporaryDirectory(scope, "users");
  const local = (path: string) => join(root, path);
  assert.deepEqual(await mountUsers(local, "disk"), []);
  await addMountUser(local, "disk", "one");
  await addMountUser(local, "disk", "two");
  await addMountUser(local, "disk", "one");
  await addMountUser(local, "other", "three");
  assert.deepEqual((await mountUsers(local, "disk")).sort(), ["one", "two"]);
  assert.deepEqual(await removeMountUser(local, "disk", "one"), ["two"]);
  assert.deepEqual(await removeMountUser(local, "disk", "two"), []);
  assert.deepEqual(await removeMountUser(local, "disk", "two"), []);
  assert.deepEqual(await mountUsers(local, "other"), ["three"]);
  await assert.rejects(stat(local("/run/nodewarm/users/disk")), { code: "ENOENT" });
  assert.equal((await stat(local("/run/nodewarm/users/other"))).mode & 0o777, 0o700);
});
