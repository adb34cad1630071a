import assert from "node:assert/strict";
import { mkdir, rmdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needsRoot } from "../../../../test/support/privileges.ts";
import { run } from "../../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { carrierName } from "../ownership.ts";
import { copyTrees } from "./materialize.ts";

const signal = new AbortController().signal;
const skip = needsRoot;

test("nothing is copied where there is no room for all", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "room");
  const snapshotsFolder = await smallFileSystem(scope, folder);
  // The disk is mounted on the carrier, from elsewhere.
  const disk = join(folder, "disk");
  await mkdir(join(disk, "images/x"), { recursive: true });
  await writeFile(join(disk, "images/x/large"), Buffer.alloc(3 << 20));
  await mkdir(join(snapshotsFolder, "1"));
  await symlink(disk, join(snapshotsFolder, "1/fs"));
  await mkdir(join(snapshotsFolder, "2"));
  const id = "0".repeat(64);
  const parts = { parent: "", disk: id };
  const carrier = { ...parts, name: carrierName(id), role: "carrier", number: "1", tree: "" } as const;
  const snapshot = { ...parts, name: "top", role: "image", number: "2", tree: "images/x" } as const;
  const job = {
    node: { snapshotsFolder, local: (path: string) => path },
    state: { owned: new Map([[carrier.name, carrier]]) },
    options: { signal },
    atStep: () => assert.fail("something was changed"),
  };
  await assert.rejects(copyTrees(job, [{ snapshot, disk: id }]), (error) => {
    assert.ok(isRuntimeError(error, "resource-exhausted"));
    assert.match(error.message, /^4 MiB would be copied to .*snapshots, which has [01] MiB left; end the containers/);
    return true;
  });
  await assert.rejects(copyTrees(job, [{ snapshot: { ...snapshot, tree: "images/y" }, disk: id }]), (error) => {
    assert.ok(isRuntimeError(error, "failed-precondition"));
    assert.match(error.message, /is not mounted; mount it first/);
    return true;
  });
});

async function smallFileSystem(scope: Scope, folder: string): Promise<string> {
  const target = join(folder, "snapshots");
  await mkdir(target);
  await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", target]);
  scope.defer(async () => {
    await run("umount", [target]);
    await rmdir(target);
  });
  return target;
}
