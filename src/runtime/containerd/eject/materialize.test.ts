import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { mkdir, readdir, readFile, rmdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { needsRoot } from "../../../../test/support/privileges.ts";
import { run } from "../../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { carrierName } from "../ownership.ts";
import { blobOnDisk, blobPath } from "./blob-links.ts";
import { copyBlobs, removeStrayBlobs } from "./copy-blobs.ts";
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

test("two that copy the same blob at once, as ejections from two namespaces do, leave one whole file", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const root = await temporaryDirectory(scope, "blobs");
  const local = (path: string) => join(root, path);
  const node = { local, blobsFolder: "/content/blobs" };
  const bytes = Buffer.alloc(32 << 20, 7);
  const digest = `sha256:${hash("sha256", bytes)}` as const;
  const disk = "0".repeat(64);
  const onDisk = blobOnDisk(disk, digest);
  await mkdir(dirname(local(onDisk)), { recursive: true });
  await writeFile(local(onDisk), bytes);
  await mkdir(dirname(blobPath(node, digest)), { recursive: true });
  await symlink(onDisk, blobPath(node, digest));
  const copy = async () => {
    await removeStrayBlobs(node, signal);
    await copyBlobs({ node, options: { signal }, atStep: () => {} }, [{ digest, disk }]);
  };
  await Promise.all([copy(), copy(), copy()]);
  assert.ok((await readFile(blobPath(node, digest))).equals(bytes));
  // One that was killed has left this.
  await writeFile(local(`/content/nodewarm-${"1".repeat(64)}`), "half");
  await copy();
  assert.deepEqual(await readdir(local("/content")), ["blobs"]);
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
