import { appendFileSync, writeSync } from "node:fs";
import fileSystem, { type FileHandle, open } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

// For `node --import`: counts what the program does to files (write, truncate, datasync, sync, rename) as steps, and lets one of them go
// wrong. NODEWARM_FAULT_LOG: the file that gets the name of each step, one a line. NODEWARM_FAULT_STEP: the number, from 0, of the step
// that fails. NODEWARM_FAULT: `kill` (a write gets half-way, then SIGKILL; a rename is a step before and one after it) or an error's code.

type Change = (...args: never[]) => Promise<unknown>;

const { NODEWARM_FAULT: fault, NODEWARM_FAULT_STEP: faultStep, NODEWARM_FAULT_LOG: log } = process.env;
let steps = 0;

/** Counts a step. What goes wrong at it happens here, after `beforeKill`. */
function step(name: string, beforeKill?: () => void): void {
  if (log !== undefined) appendFileSync(log, `${name}\n`);
  const isFaulty = faultStep !== undefined && steps++ === Number(faultStep);
  if (!isFaulty || fault === undefined) return;
  if (fault === "kill") {
    beforeKill?.();
    process.kill(process.pid, "SIGKILL");
  }
  throw Object.assign(new Error(`${fault}: made to fail, ${name}`), { code: fault, syscall: name });
}

function patch(prototype: Record<string, Change>, name: string): void {
  const original = prototype[name] as Change;
  prototype[name] = async function (this: FileHandle, ...args: never[]) {
    step(name, () => {
      // The form of `write` that is used with bytes; the others share the name.
      if (name === "write") writeHalf(this, ...(args as unknown as [Uint8Array, number, number, number]));
    });
    return original.apply(this, args);
  };
}

function writeHalf(handle: FileHandle, bytes: Uint8Array, offset: number, length: number, position: number): void {
  writeSync(handle.fd, bytes, offset, length >> 1, position);
}

if (isMainThread) {
  const handle = await open("/dev/null");
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  for (const name of ["write", "truncate", "datasync", "sync"]) patch(prototype, name);
  const { rename } = fileSystem;
  fileSystem.rename = async (from, to) => {
    step("rename");
    await rename(from, to);
    step("renamed");
  };
  syncBuiltinESMExports();
}
