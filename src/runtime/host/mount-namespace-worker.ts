import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { FromNamespace, NamespaceCall } from "./mount-namespace-protocol.ts";
import { callHere, errorCode, SystemCallError } from "./system-calls.ts";

// Enters the mount namespace of the process whose id is the worker's data, and makes calls there. Nothing can be imported
// once it has: the program's own files may not be in that namespace.

/** include/uapi/linux/sched.h. */
const cloneFs = 0x200;
const cloneNewMountNamespace = 0x20000;

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;

function answer(makeCall: () => number): void {
  port.postMessage(attempt(makeCall));
}

function attempt(makeCall: () => number): FromNamespace {
  try {
    return { result: makeCall() };
  } catch (error) {
    if (error instanceof SystemCallError) return { call: error.call, errno: error.errno };
    return { code: errorCode(error), text: String(error) };
  }
}

function enter(pid: number): number {
  const namespace = openSync(`/proc/${pid}/ns/mnt`, "r");
  try {
    callHere("unshare", cloneFs);
    return callHere("setns", namespace, cloneNewMountNamespace);
  } finally {
    closeSync(namespace);
  }
}

port.on("message", ({ name, args }: NamespaceCall) => answer(() => callHere(name, ...args)));
answer(() => enter(Number(workerData)));
