import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { DiskError } from "../../disk/disk-error.ts";
import { DiskReader } from "../../disk/reader/disk-reader.ts";
import { listBlobs } from "../../disk/verify/blob-hashes.ts";
import { checkData } from "../../disk/verify/data-check.ts";
import { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { causeText } from "../../oci/oci-error.ts";
import { forgetCached } from "../../runtime/host/fresh-read.ts";
import { callHere } from "../../runtime/host/system-calls.ts";
import { descriptorSource } from "./descriptor-source.ts";
import { deviceStamp, fileStamp, sameStamp } from "./disk-stamp.ts";
import type { FromVerification, Verdict, VerificationJob, VerificationTask } from "./verification-protocol.ts";

// Reads one disk in full and tells its verdict. A thread of its own, since hashing gigabytes would stop the agent, and since priorities
// belong to threads.

const niceness = 10;

/** Numbers of ioprio_set(2) (asm/unistd_64.h, asm-generic/unistd.h). */
const ioprioSetNumber: Readonly<Record<string, number>> = {
  x64: 251,
  arm64: 30,
  riscv64: 30,
  loong64: 30,
  ppc64: 273,
  s390x: 282,
};
/** include/uapi/linux/ioprio.h: `IOPRIO_WHO_PROCESS` and the lowest of the class best effort: idle would starve on a busy node. */
const ioprioProcess = 1;
const lowestBestEffort = (2 << 13) | 7;

const progressMs = 250;
const maxProblems = 3;

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;

const task: VerificationTask = workerData;
const stopped = new Int32Array(task.stop);

const tell = (message: FromVerification) => port.postMessage(message);

function checkStopped(): void {
  if (Atomics.load(stopped, 0) !== 0) throw new Error("nobody asks for it any more");
}

function lowerPriority(): void {
  // For either, 0 is the calling thread (setpriority(2), ioprio_set(2)).
  try {
    setPriority(0, niceness);
    const number = ioprioSetNumber[process.arch];
    if (number !== undefined) callHere("ioprioSet", number, ioprioProcess, 0, lowestBestEffort);
  } catch {
    // It is only a courtesy; containers may forbid it.
  }
}

async function verify(job: VerificationJob): Promise<Verdict> {
  checkStopped();
  const fd = openSync(job.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await isSame(fd, job))) return changed(job);
    if (job.isAgain) forgetCached(fd);
    const verdict = await readAll(fd, job);
    return verdict.type === "sound" && !(await isSame(fd, job)) ? changed(job) : verdict;
  } finally {
    closeSync(fd);
  }
}

async function readAll(fd: number, { path, id, stamp }: VerificationJob): Promise<Verdict> {
  const problems = new ProblemList(maxProblems);
  try {
    const disk = await DiskReader.open(
      descriptorSource(path, fd, { sizeBytes: stamp.sizeBytes, beforeRead: checkStopped }),
    );
    if (disk.id !== id) return { type: "changed", reason: `${path} holds another disk than before` };
    const blobs = disk.index.images.length === 0 ? [] : await listBlobs(disk, problems);
    let toldMs = performance.now();
    await checkData(disk, blobs, problems, {
      inThisThread: true,
      onProgress: ({ done, total }) => {
        if (performance.now() - toldMs < progressMs) return;
        toldMs = performance.now();
        tell({ type: "progress", share: Math.min(1, done / total) });
      },
    });
  } catch (error) {
    if (error instanceof DiskError || error instanceof ErofsError) return { type: "broken", reason: error.message };
    throw error;
  }
  if (problems.isEmpty) return { type: "sound" };
  const [first] = problems.problems;
  return { type: "broken", reason: `${path}: ${first?.place}: ${first?.message}; deliver the disk again` };
}

async function isSame(fd: number, { path, kind, stamp }: VerificationJob): Promise<boolean> {
  const stats = fstatSync(fd, { bigint: true });
  return sameStamp(stamp, kind === "file" ? fileStamp(path, stats) : await deviceStamp(path, stats));
}

function changed({ path }: VerificationJob): Verdict {
  return { type: "changed", reason: `${path} changed while it was read` };
}

lowerPriority();
try {
  tell(await verify(task.job));
} catch (error) {
  tell({ type: "unreadable", reason: `${task.job.path} cannot be read: ${causeText(error)}` });
}
