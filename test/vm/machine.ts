import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";
import {
  controlSocket,
  type Drive,
  driveDevice,
  driveNode,
  emulatorArguments,
  failingNode,
  type MachineOptions,
  shellSocket,
} from "./emulator.ts";

export type CommandResult = { readonly code: number; readonly output: string };

/** By emulation, on a machine that does other things too: only what never comes is given up. */
export const bootTimeoutMs = 600_000;

/** File of the unit that gives the tests a shell in the machine: put it into the root file system, with the link that enables it. */
export const shellUnit = {
  path: "/etc/systemd/system/test-shell.service",
  link: "/etc/systemd/system/basic.target.wants/test-shell.service",
  text: `[Unit]
DefaultDependencies=no
After=systemd-udevd.service sysinit.target
Wants=dev-vport0p1.device
After=dev-vport0p1.device

[Service]
ExecStart=/bin/sh -c 'exec sh <> /dev/virtio-ports/shell >&0 2>&1'
`,
} as const;

/** A whole emulated computer: what a host process cannot do to the machine that the tests run on, it can do to this one. */
export class Machine {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #drives: readonly Drive[];
  #console = "";
  #shell: Socket | undefined;
  #output = "";
  #commands = 0;

  private constructor(process: ChildProcess, folder: string, drives: readonly Drive[]) {
    this.#process = process;
    this.#folder = folder;
    this.#drives = drives;
    process.stdout?.on("data", (chunk) => {
      this.#console += chunk;
    });
    process.stderr?.on("data", (chunk) => {
      this.#console += chunk;
    });
  }

  /** Starts it; `run` waits until it is up. */
  static async start(scope: Scope, options: MachineOptions): Promise<Machine> {
    const folder = await temporaryDirectory(scope, "vm");
    const child = spawn("qemu-system-x86_64", emulatorArguments(options, folder), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const machine = new Machine(child, folder, options.drives);
    scope.defer(() => machine.cutPower());
    await once(child, "spawn");
    return machine;
  }

  /** Everything that kernel and systemd printed. */
  get console(): string {
    return this.#console;
  }

  /** Runs a shell command as root in the machine. Throws when the machine ends or `timeoutMs` is over. */
  async run(command: string, timeoutMs = bootTimeoutMs): Promise<CommandResult> {
    const end = Date.now() + timeoutMs;
    const shell = await this.#connectShell(end);
    const mark = `end-of-command-${++this.#commands}`;
    this.#output = "";
    shell.write(`{ ${command}\n} </dev/null 2>&1; echo "${mark} $?"\n`);
    for (;;) {
      const match = new RegExp(`${mark} (\\d+)\\r?\\n`).exec(this.#output);
      if (match !== null) return { code: Number(match[1]), output: this.#output.slice(0, match.index) };
      this.#mustRun(end, `"${command}" ran`);
      await sleep(20);
    }
  }

  /** As `run`, for what must succeed; its output. */
  async succeed(command: string, timeoutMs?: number): Promise<string> {
    const { code, output } = await this.run(command, timeoutMs);
    if (code !== 0) throw new Error(`${command}: exit ${code}: ${output}`);
    return output;
  }

  /** Repeats a command until it succeeds; its output. */
  async eventually(command: string, timeoutMs = bootTimeoutMs): Promise<string> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { code, output } = await this.run(command, timeoutMs);
      if (code === 0) return output;
      if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for: ${command}: ${output}`);
      await sleep(500);
    }
  }

  /** Ends it as if the plug was pulled. May be called twice. */
  async cutPower(): Promise<void> {
    this.#shell?.destroy();
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }

  /** Shuts it down in order and waits for the end. */
  async shutDown(): Promise<void> {
    await this.run("systemctl poweroff --no-block");
    if (this.#process.exitCode === null) await once(this.#process, "exit", { signal: AbortSignal.timeout(300_000) });
  }

  /** One command of the QEMU Machine Protocol, such as `device_del`. */
  async control(execute: string, args: object = {}): Promise<unknown> {
    const socket = connect(controlSocket(this.#folder));
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    try {
      await once(socket, "connect");
      socket.write(
        `${JSON.stringify({ execute: "qmp_capabilities" })}\n${JSON.stringify({ execute, arguments: args, id: 1 })}\n`,
      );
      for (;;) {
        const answer = text
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line))
          .find(({ id }) => id === 1);
        if (answer?.error !== undefined) throw new Error(`${execute}: ${answer.error.desc}`);
        if (answer !== undefined) return answer.return;
        await sleep(10);
      }
    } finally {
      socket.destroy();
    }
  }

  /** Pulls a drive out, and waits until it is gone. */
  async detach(serial: string, timeoutMs = 300_000): Promise<void> {
    const { id } = driveDevice(...this.#drive(serial));
    await this.control("device_del", { id });
    const end = Date.now() + timeoutMs;
    while (JSON.stringify(await this.control("qom-list", { path: "/machine/peripheral" })).includes(`"${id}"`)) {
      this.#mustRun(end, `${serial} was pulled out`);
      await sleep(100);
    }
  }

  /** Puts a drive in that was pulled out. */
  async attach(serial: string): Promise<void> {
    await this.control("device_add", driveDevice(...this.#drive(serial)));
  }

  /** From now on reads of these sectors of 512 bytes fail; with none, reads succeed again. */
  async failReads(serial: string, sectors: readonly number[]): Promise<void> {
    const [drive] = this.#drive(serial);
    const { name, node } = failingNode(drive, sectors);
    if (sectors.length > 0) await this.control("blockdev-add", node);
    await this.control("blockdev-reopen", {
      options: [sectors.length > 0 ? driveNode(drive, name) : driveNode(drive)],
    });
    if (sectors.length === 0) await this.control("blockdev-del", { "node-name": name });
  }

  #drive(serial: string): [drive: Drive, index: number] {
    const index = this.#drives.findIndex((drive) => drive.serial === serial);
    const drive = this.#drives[index];
    if (drive === undefined) throw new Error(`the machine has no drive ${serial}`);
    return [drive, index];
  }

  async #connectShell(end: number): Promise<Socket> {
    if (this.#shell !== undefined) return this.#shell;
    for (;;) {
      const socket = connect(shellSocket(this.#folder));
      try {
        await once(socket, "connect");
        socket.on("data", (chunk) => {
          this.#output += chunk;
        });
        socket.on("error", () => {});
        this.#shell = socket;
        return socket;
      } catch {
        socket.destroy();
        this.#mustRun(end, "the machine was up");
        await sleep(100);
      }
    }
  }

  #mustRun(end: number, what: string): void {
    const ended = this.#process.exitCode !== null || this.#process.signalCode !== null;
    if (!ended && Date.now() < end) return;
    throw new Error(`${ended ? "the machine ended" : "waited in vain"} until ${what}:\n${this.#console.slice(-4000)}`);
  }
}
