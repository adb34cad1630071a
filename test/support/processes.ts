import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Scope } from "./temporary.ts";

export type RunOptions = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
};

/** Runs a program to its end; its stdout. Throws with what it wrote to stderr when it fails. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return (await runBytes(program, args, options)).toString();
}

/** As `run`, with stdout as bytes. */
export async function runBytes(program: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const environment = { ...process.env, LC_ALL: "C", ...options.env };
  const settings = { cwd: options.cwd, env: environment, timeout: options.timeoutMs ?? 120_000 };
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { ...settings, encoding: "buffer", maxBuffer: 1 << 30 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = `${stdout.subarray(-2000)}${stderr.subarray(-4000)}`.trim();
      const exit = error.code ?? error.signal;
      reject(new Error(`${program} ${args.join(" ")}: ${exit}: ${said}`, { cause: error }));
    });
  });
}

export type Daemon = {
  readonly pid: number;
  /** What the process wrote so far. */
  log(): Promise<string>;
  /** Terminates the process and waits for its end. May be called twice. */
  stop(): Promise<void>;
};

export type DaemonOptions = {
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** Starts a process that runs until the scope ends, and waits until `ready` resolves to true. */
export async function startDaemon(
  scope: Scope,
  program: string,
  args: readonly string[],
  options: DaemonOptions,
  ready: () => Promise<boolean>,
): Promise<Daemon> {
  const log = openSync(options.logFile, "a");
  const child = spawn(program, args, { stdio: ["ignore", log, log], env: { ...process.env, ...options.env } });
  closeSync(log);
  await once(child, "spawn");
  const stop = () => stopChild(child);
  scope.defer(stop);
  const readLog = () => readFile(options.logFile, "utf8");
  await waitUntil(`${program} is ready`, async () => {
    if (hasEnded(child)) throw new Error(`${program} ended early:\n${(await readLog()).slice(-4000)}`);
    return ready();
  });
  return { pid: child.pid ?? 0, log: readLog, stop };
}

/** Asks again and again until `condition` holds; throws after `timeoutMs`. */
export async function waitUntil(what: string, condition: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await sleep(50);
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const kill = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exit;
  clearTimeout(kill);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
