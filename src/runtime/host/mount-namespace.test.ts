import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { startInMountNamespace } from "../../../test/support/mount-namespace.ts";
import { needs, needsRoot } from "../../../test/support/privileges.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { HostError } from "./host-error.ts";
import { openMountNamespace, ownMountNamespace, sharesMountNamespace } from "./mount-namespace.ts";
import { callHere, errorCode } from "./system-calls.ts";

test("a process of ours shares our mounts, and no thread is needed", async () => {
  assert.equal(await sharesMountNamespace(process.pid), true);
  assert.equal(await openMountNamespace(process.pid), ownMountNamespace);
});

test("a process that has ended is said to be missing", async () => {
  const child = spawn("true", { stdio: "ignore" });
  await once(child, "exit");
  await assert.rejects(openMountNamespace(child.pid ?? 0), (error: unknown) => {
    return error instanceof HostError && error.code === "not-found" && error.message.includes("hostPID");
  });
});

describe("another mount namespace", { skip: needs("unshare") }, () => {
  test("a thread mounts there, and the rest of the program stays where it is", async () => {
    await using scope = new AsyncDisposableStack();
    const pid = await startInMountNamespace(scope);
    const target = join(await temporaryDirectory(scope, "namespace"), "here");
    await mkdir(target);
    assert.equal(await sharesMountNamespace(pid), false);
    const namespace = await openMountNamespace(pid);
    scope.defer(() => namespace.close());
    assert.equal(namespace.isOwn, false);
    await namespace.call("mount", "none", target, "tmpfs", 0, null);
    assert.equal((await namespace.table()).at(target)?.type, "tmpfs");
    assert.equal((await ownMountNamespace.table()).at(target), undefined);
    await writeFile(join(namespace.localPath(target), "file"), "seen");
    assert.deepEqual(await readdir(target), []);
    assert.equal(await readFile(`/proc/${pid}/root${target}/file`, "utf8"), "seen");
    assert.equal(await readlink("/proc/self/ns/mnt"), await readlink(`/proc/${process.ppid}/ns/mnt`));
    await namespace.call("umount2", target, 0);
    assert.equal((await namespace.table()).at(target), undefined);
  });

  test("the kernel takes no mounts through /proc/PID/root, which is why there is a thread", async () => {
    await using scope = new AsyncDisposableStack();
    const pid = await startInMountNamespace(scope);
    const target = await temporaryDirectory(scope, "namespace");
    assert.throws(
      () => callHere("mount", "none", `/proc/${pid}/root${target}`, "tmpfs", 0, null),
      (error: unknown) => errorCode(error) === "EINVAL",
    );
  });

  test("errors of its calls come back with their names, in order", async () => {
    await using scope = new AsyncDisposableStack();
    const namespace = await openMountNamespace(await startInMountNamespace(scope));
    scope.defer(() => namespace.close());
    const results = await Promise.allSettled([
      namespace.call("umount2", "/no/such/folder", 0),
      namespace.call("umount2", "/proc", -1),
      namespace.call("mount", "a\0b", "/", "tmpfs", 0, null),
      namespace.call("umount2", "/no", 0),
    ]);
    const codes = results.map((result) =>
      result.status === "rejected" ? (errorCode(result.reason) ?? String(result.reason)) : "",
    );
    assert.deepEqual([codes[0], codes[1], codes[3]], ["ENOENT", "EINVAL", "ENOENT"]);
    assert.match(codes[2] ?? "", /zero byte/);
  });

  test("calls after the end fail instead of waiting for ever", async () => {
    await using scope = new AsyncDisposableStack();
    const namespace = await openMountNamespace(await startInMountNamespace(scope));
    await namespace.close();
    await namespace.close();
    await assert.rejects(namespace.call("umount2", "/no", 0), HostError);
  });
});

test("without root a foreign namespace is refused with the way out", {
  skip: needsRoot === false && "needs another user than root",
}, async () => {
  await assert.rejects(
    openMountNamespace(1),
    (error: unknown) => error instanceof HostError && error.code === "permission",
  );
});
