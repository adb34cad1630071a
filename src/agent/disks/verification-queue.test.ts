import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Worker } from "node:worker_threads";
import { spoilByte } from "../../../test/support/disk-finding.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { fileStamp } from "./disk-stamp.ts";
import type { VerificationJob } from "./verification-protocol.ts";
import { VerificationQueue } from "./verification-queue.ts";

async function makeJob(scope: Scope, text?: string): Promise<VerificationJob> {
  const { path } = await makeSmallDisk(scope, text);
  const { id } = await readDiskSource(path);
  return { path, kind: "file", stamp: fileStamp(path, await stat(path, { bigint: true })), id };
}

/** By all threads of this process (proc_pid_io(5)). */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile("/proc/self/io", "utf8"))?.[1]);
}

describe("verification", () => {
  test("tells sound disks from broken ones, and from those that are others by now", async () => {
    await using scope = new AsyncDisposableStack();
    const queue = new VerificationQueue();
    scope.defer(async () => queue.close());
    const sound = await makeJob(scope);
    const spoiled = await makeJob(scope);
    await spoilByte(spoiled.path, 4096);
    const stamp = fileStamp(spoiled.path, await stat(spoiled.path, { bigint: true }));
    const jobs = [
      sound,
      { ...sound, id: "0".repeat(64) },
      spoiled,
      { ...spoiled, stamp },
      { ...sound, path: `${sound.path}.none` },
    ];
    const verdicts = await Promise.all(jobs.map((job) => queue.add(job).verdict));
    assert.deepEqual(
      verdicts.map(({ type }) => type),
      ["sound", "changed", "changed", "broken", "unreadable"],
    );
    for (const [i, verdict] of verdicts.entries())
      assert.ok(verdict.type === "sound" || verdict.reason.includes(jobs[i]?.path ?? "?"));
  });

  test("one that is cancelled, or whose device hangs, does not hold up the next", async () => {
    await using scope = new AsyncDisposableStack();
    const job = await makeJob(scope);
    const queue = new VerificationQueue();
    scope.defer(async () => queue.close());
    const [first, second, third] = [queue.add(job), queue.add(job), queue.add(job)];
    first.cancel();
    second.cancel();
    second.cancel();
    assert.deepEqual([(await first.verdict).type, (await second.verdict).type], ["changed", "changed"]);
    assert.equal((await third.verdict).type, "sound");
    third.cancel();
    assert.equal((await third.verdict).type, "sound");

    // Quicker than any thread begins: as if nothing were ever read.
    const impatient = new VerificationQueue(1);
    scope.defer(async () => impatient.close());
    const verdicts = await Promise.all([impatient.add(job).verdict, impatient.add(job).verdict]);
    for (const verdict of verdicts)
      assert.match(verdict.type === "unreadable" ? verdict.reason : "", /does not answer/);
  });

  test("one that is cancelled ends its thread, which reads no further", async () => {
    await using scope = new AsyncDisposableStack();
    const contentBytes = 64 << 20;
    const job = await makeJob(scope, randomBytes(contentBytes / 2).toString("hex"));
    const queue = new VerificationQueue();
    scope.defer(async () => queue.close());
    const verify = async (isCancelled: boolean): Promise<number> => {
      const before = await bytesRead();
      // The types of Node do not say what events give: `worker` one thread (process, Event: 'worker').
      const started = once(process, "worker") as Promise<[Worker]>;
      const verification = queue.add(job);
      const [worker] = await started;
      const exited = once(worker, "exit");
      if (isCancelled) verification.cancel();
      await Promise.all([verification.verdict, exited]);
      return (await bytesRead()) - before;
    };
    assert.ok((await verify(false)) > contentBytes);
    assert.ok((await verify(true)) < contentBytes / 2);
  });

  test("closing ends what runs and what waits", async () => {
    await using scope = new AsyncDisposableStack();
    const job = await makeJob(scope);
    const queue = new VerificationQueue();
    const all = [queue.add(job), queue.add(job), queue.add(job)];
    queue.close();
    for (const { verdict } of all) assert.equal((await verdict).type, "changed");
  });

  test("what is no disk any more is broken, not a failure of the agent", async () => {
    await using scope = new AsyncDisposableStack();
    const path = join(await temporaryDirectory(scope, "verify"), "disk");
    await writeFile(path, Buffer.alloc(100_000, 1));
    const stamp = fileStamp(path, await stat(path, { bigint: true }));
    const queue = new VerificationQueue();
    const { verdict } = queue.add({ path, kind: "file", stamp, id: "0".repeat(64) });
    assert.equal((await verdict).type, "broken");
  });
});
