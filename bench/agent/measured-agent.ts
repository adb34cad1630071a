import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findAgent } from "../../src/agent/serve/control-client.ts";
import type { AgentStatus } from "../../src/agent/status.ts";
import type { ContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import { type Scope, temporaryDirectory } from "../../test/support/temporary.ts";

export type WantedImage = { readonly ref: string; readonly refresh?: { readonly interval: string } };

export type Documents = {
  /** Folders with disks; only root may write them. */
  readonly disks?: readonly string[];
  readonly images?: readonly WantedImage[];
  /** Registries without TLS. */
  readonly plainHttp?: readonly string[];
};

const patienceMs = 120_000;

/** The agent as it is shipped, with folders of its own beside a containerd. */
export class MeasuredAgent {
  readonly daemon: ContainerdDaemon;
  /** Its state; may be given on to the agent of another containerd. */
  readonly stateFolder: string;
  readonly #program: string;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #said = "";

  private constructor(program: string, daemon: ContainerdDaemon, folder: string) {
    this.#program = program;
    this.daemon = daemon;
    this.#folder = folder;
    this.stateFolder = join(folder, "state");
  }

  /** Does not start it. `state`: a folder that becomes its state, so that it knows the disks that another one read in full. */
  static async make(scope: Scope, program: string, daemon: ContainerdDaemon, state?: string): Promise<MeasuredAgent> {
    const folder = await temporaryDirectory(scope, "agent");
    const agent = new MeasuredAgent(program, daemon, folder);
    await mkdir(join(folder, "config"), { mode: 0o700 });
    if (state !== undefined) await cp(state, agent.stateFolder, { recursive: true });
    scope.defer(() => agent.stop());
    return agent;
  }

  /** Of the agent itself: the launcher becomes it. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the agent is not started");
    return this.#child.pid;
  }

  /** What it wrote so far. */
  get said(): string {
    return this.#said;
  }

  /** The documents in force from now on. */
  async configure({ disks = [], images = [], plainHttp = [] }: Documents): Promise<void> {
    const head = { apiVersion: "nodewarm.io/v1alpha1", metadata: { name: "bench" } };
    const agent = {
      ...head,
      kind: "AgentConfig",
      spec: {
        disks: { folders: disks },
        registries: plainHttp.map((prefix) => ({ prefix, plainHttp: true })),
        // Whatever else fills this machine.
        limits: { highWater: 98, evictAbove: 99 },
      },
    };
    const set = { ...head, kind: "ImageSet", spec: { images } };
    await this.#write("agent.json", agent);
    await this.#write("set.json", set);
  }

  /** Executes it, and does not wait; milliseconds since 1970. */
  start(): number {
    const folders = ["--config", join(this.#folder, "config"), "--state", this.stateFolder];
    const places = ["--socket", this.#socket, "--runtime", "containerd", "--address", this.daemon.address];
    const at = Date.now();
    const child = spawn(this.#program, ["agent", ...folders, ...places], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    for (const output of [child.stdout, child.stderr])
      output.on("data", (piece) => {
        this.#said += piece;
      });
    return at;
  }

  async status(): Promise<AgentStatus | undefined> {
    const client = await findAgent(this.#socket, AbortSignal.timeout(patienceMs));
    return (await client?.status({ signal: AbortSignal.timeout(patienceMs) }))?.runtimes[0];
  }

  /** Asks until the status is as wanted. */
  async until(what: string, wanted: (status: AgentStatus) => boolean, everyMs = 50): Promise<AgentStatus> {
    const end = Date.now() + patienceMs;
    let last: AgentStatus | undefined;
    while (Date.now() < end) {
      last = await this.status();
      if (last !== undefined && wanted(last)) return last;
      if (this.#child?.exitCode !== null) break;
      await sleep(everyMs);
    }
    const images = last?.images.filter(({ phase }) => phase !== "Warm");
    const rest = JSON.stringify({ images, conditions: last?.conditions, disks: last?.disks }, undefined, 1);
    throw new Error(`waited in vain until ${what}:\n${rest.slice(0, 4000)}\n${this.#said.slice(-4000)}`);
  }

  async untilWarm(images: number): Promise<void> {
    const isWarm = (status: AgentStatus) =>
      status.images.length === images && status.images.every(({ phase }) => phase === "Warm");
    await this.until(`${images} images are warm`, isWarm);
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    await exit;
  }

  get #socket(): string {
    return join(this.#folder, "agent.sock");
  }

  async #write(name: string, document: unknown): Promise<void> {
    await writeFile(join(this.#folder, name), JSON.stringify(document));
    await rename(join(this.#folder, name), join(this.#folder, "config", name));
  }
}
