import { CodedError } from "../oci/coded-error.ts";
import { suggestion } from "./closest-word.ts";
import type { Command, CommandIo } from "./command.ts";
import { harmlessIo } from "./harmless.ts";
import { asUsageError, UsageError } from "./usage-error.ts";
import { version } from "./version.ts";

/** Loaded only when asked for, so that each command starts with no more than it needs. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  build: () => import("./commands/build.ts"),
  inspect: () => import("./commands/inspect.ts"),
  ls: () => import("./commands/ls.ts"),
  cat: () => import("./commands/cat.ts"),
  verify: () => import("./commands/verify.ts"),
  inject: () => import("./commands/inject.ts"),
  eject: () => import("./commands/eject.ts"),
  mount: () => import("./commands/mount.ts"),
  status: () => import("./commands/status.ts"),
  doctor: () => import("./commands/doctor.ts"),
  agent: () => import("./commands/agent.ts"),
  uninstall: () => import("./commands/uninstall.ts"),
  seed: () => import("./commands/seed.ts"),
};

const help = `Usage: nodewarm COMMAND [ARGUMENT...]

Puts container images on one read-only disk that the Linux kernel mounts, and makes them usable in the container runtime of a node.

Disks, without root:
  build      make a disk from images of a registry, an OCI layout or an archive
  inspect    show the images and layers of a disk and what they cost
  ls         list the files of a disk
  cat        write a file of a disk to standard output
  verify     find everything that can be wrong with a disk

Nodes, as root:
  inject     make the images of a disk usable in the running containerd or Docker
  eject      undo that
  mount      mount again what was injected, after a reboot
  status     show what is injected where, and what is wrong with it
  doctor     find out whether this node can be injected, and what to do if not
  agent      keep a declared list of images usable, from disks and registries
  seed       put disks and the program into the root file system of a node
  uninstall  leave a node that works without all this

  nodewarm COMMAND --help    all options of a command
  nodewarm --version         the version

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

/** Runs one command line (without `node` and the script) and returns its exit code; all errors are written to `io.stderr`. */
export async function main(args: readonly string[], processIo: CommandIo): Promise<number> {
  const io = harmlessIo(processIo);
  const [name, ...rest] = args;
  try {
    if (name === undefined) {
      io.stderr.write(help);
      return 2;
    }
    if (name === "--help" || name === "-h" || name === "help") {
      io.stdout.write(help);
      return 0;
    }
    if (name === "--version" || name === "-V") {
      io.stdout.write(`nodewarm ${version()}\n`);
      return 0;
    }
    if (!Object.hasOwn(commands, name)) {
      throw new UsageError(
        `unknown ${name.startsWith("-") ? "option" : "command"} "${name}"${suggestion(name, Object.keys(commands))}`,
      );
    }
    const command = await commands[name]();
    return (await command.run(rest, io)) ?? 0;
  } catch (error) {
    return reportError(asUsageError(error), name, io);
  }
}

function reportError(error: unknown, command: string | undefined, io: CommandIo): number {
  if (io.signal.aborted) {
    io.stderr.write("nodewarm: interrupted\n");
    return exitCodeOfSignal(io.signal.reason);
  }
  if (error instanceof UsageError) {
    const of = command !== undefined && Object.hasOwn(commands, command) ? `${command} ` : "";
    io.stderr.write(`nodewarm: ${error.message}\nRun "nodewarm ${of}--help" for usage.\n`);
    return 2;
  }
  io.stderr.write(`nodewarm: ${describe(error)}\n`);
  return 1;
}

/** Coded errors and those of the system speak for themselves; anything else is a bug, shown with its stack. */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.message !== "") return error.message;
  if (error instanceof CodedError) return error.message;
  if (error instanceof Error && "syscall" in error) return error.message;
  return `unexpected error, please report it: ${error instanceof Error ? error.stack : String(error)}`;
}

/** The reason of the abort signal: which signal of the system it was. */
class StoppedBySignal extends Error {
  readonly exitCode: number;

  constructor(name: "SIGINT" | "SIGTERM") {
    super(`stopped by ${name}`);
    this.name = "AbortError";
    this.exitCode = name === "SIGINT" ? 130 : 143;
  }
}

function exitCodeOfSignal(reason: unknown): number {
  return reason instanceof StoppedBySignal ? reason.exitCode : 130;
}

async function runProcess(): Promise<void> {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      const stopped = new StoppedBySignal(name);
      // Asked a second time, nothing is waited for; a partial file that stays is removed by the next build.
      if (controller.signal.aborted) process.exit(stopped.exitCode);
      controller.abort(stopped);
    });
  }
  // A reader such as `head` that has seen enough is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  process.exitCode = await main(process.argv.slice(2), {
    // Opened by those who read it only: that takes some milliseconds.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: controller.signal,
  });
}

if (import.meta.main) await runProcess();
