import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type AgentClient, findAgent } from "../../../src/agent/serve/control-client.ts";
import type { AgentStatus, ImageStatus } from "../../../src/agent/status.ts";
import { type CliResult, finish, start } from "../cli.ts";
import { type MadeImage, pushToRegistry } from "../image-maker.ts";
import { startRegistry, type TestRegistry } from "../registry.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import type { ContainerdDaemon, ContainerdOptions } from "./containerd-daemon.ts";
import type { DockerDaemon } from "./docker-daemon.ts";
import type { DockerOptions, DockerRuntime } from "./docker-fleet.ts";
import type { ContainerdRuntime } from "./fleet.ts";
import { type InjectionImages, makeInjectionImages } from "./injection.ts";

/** What a test wants of one image. */
export type WantedImage = { readonly ref: string } & Readonly<Record<string, unknown>>;

type Places = { readonly scope: Scope; readonly folder: string; readonly address: string | undefined };

const longMs = 60_000;

/** A node with a containerd, a registry, folders for an agent, and the agent as users run it. */
export class AgentNode {
  readonly daemon: ContainerdDaemon;
  readonly registry: TestRegistry;
  readonly images: InjectionImages;
  readonly socket: string;
  /** State folder of the agent, unless it is started with another. */
  readonly state: string;
  /** Further variables of the agent, from its next start on. */
  readonly environment: Record<string, string> = {};
  readonly #scope: Scope;
  /** Socket of the runtime, as the agent is given it from its next start on. */
  address: string;
  readonly #folder: string;
  #agent: ChildProcess | undefined;
  #log = "";

  private constructor(parts: Pick<AgentNode, "daemon" | "registry" | "images"> & Places) {
    this.daemon = parts.daemon;
    this.registry = parts.registry;
    this.images = parts.images;
    this.#scope = parts.scope;
    this.#folder = parts.folder;
    this.address = parts.address ?? parts.daemon.address;
    this.state = join(parts.folder, "state");
    this.socket = join(parts.folder, "agent.sock");
  }

  static async start(scope: Scope, runtime: ContainerdRuntime, options: ContainerdOptions = {}): Promise<AgentNode> {
    return AgentNode.#over(scope, await runtime.start(scope, options));
  }

  /** As `start`, with Docker: `daemon` is the containerd below it. */
  static async startDocker(
    scope: Scope,
    runtime: DockerRuntime,
    options: DockerOptions = {},
  ): Promise<{ readonly node: AgentNode; readonly docker: DockerDaemon }> {
    const docker = await runtime.start(scope, options);
    return { node: await AgentNode.#over(scope, docker.containerd, docker.address), docker };
  }

  static async #over(scope: Scope, daemon: ContainerdDaemon, address?: string): Promise<AgentNode> {
    const images = await makeInjectionImages(scope);
    const registry = await startRegistry();
    scope.defer(() => registry.stop());
    const folder = await temporaryDirectory(scope, "agent");
    for (const name of ["config", "disks"]) await mkdir(join(folder, name), { mode: 0o700 });
    const node = new AgentNode({ scope, daemon, registry, images, folder, address });
    node.#stopAtEnd();
    await node.configure([]);
    return node;
  }

  /** Process id of the agent; `undefined` while it is stopped. */
  get pid(): number | undefined {
    return this.#agent?.pid;
  }

  /** Folder with all that the agent needs: configuration, disks, state, socket. */
  get folder(): string {
    return this.#folder;
  }

  /** What the agent wrote so far. */
  get log(): string {
    return this.#log;
  }

  /** Publishes an image of a layout; its reference. */
  async publish(image: MadeImage, name: string, layout = this.images.layout): Promise<string> {
    const [repository = "", tag = ""] = name.split(":");
    await pushToRegistry(layout, image.manifest, { origin: this.registry.origin, repository, tag });
    return `${this.registry.host}/${name}`;
  }

  /** Writes image set and AgentConfig; `agent` is its spec. */
  async configure(images: readonly WantedImage[], agent: object = {}): Promise<void> {
    const head = { apiVersion: "nodewarm.io/v1alpha1", metadata: { name: "test" } };
    const registries = [{ prefix: this.registry.host, plainHttp: true }];
    const disks = { folders: [join(this.#folder, "disks")] };
    // Whatever else fills the machine that the tests run on.
    const limits = { highWater: 98, evictAbove: 99 };
    await this.writeDocument("set.json", { ...head, kind: "ImageSet", spec: { images } });
    await this.writeDocument("agent.json", {
      ...head,
      kind: "AgentConfig",
      spec: { registries, disks, limits, ...agent },
    });
  }

  async writeDocument(name: string, document: unknown): Promise<void> {
    const text = typeof document === "string" ? document : JSON.stringify(document, undefined, 2);
    await writeFile(join(this.#folder, name), text);
    await rename(join(this.#folder, name), join(this.#folder, "config", name));
  }

  /** Brings a disk as a delivery would: under another name first. */
  async bringDisk(path: string, name = "disk.erofs"): Promise<string> {
    const place = join(this.#folder, "disks", name);
    await copyFile(path, join(this.#folder, "disks", `.${name}`));
    await rename(join(this.#folder, "disks", `.${name}`), place);
    this.#stopAtEnd();
    return place;
  }

  /** Before what the scope has held until now is undone: a running agent would mount a disk again. */
  #stopAtEnd(): void {
    this.#scope.defer(async () => void (await this.stop("SIGKILL")));
  }

  /** Runs the agent to its end. */
  async runOnce(...args: readonly string[]): Promise<CliResult> {
    return finish(start(this.words(["--once", ...args]), { cwd: this.#folder }));
  }

  /** Starts the agent and waits until it answers. */
  async startAgent(...args: readonly string[]): Promise<AgentClient> {
    const child = start(this.words(args), { cwd: this.#folder, env: this.environment });
    this.#agent = child;
    // Also one that a test which failed has left to the next one.
    this.#scope.defer(() => void child.kill("SIGKILL"));
    for (const output of [child.stdout, child.stderr])
      output?.on("data", (piece) => {
        this.#log += piece;
      });
    const end = Date.now() + longMs;
    for (;;) {
      const client = await findAgent(this.socket, AbortSignal.timeout(longMs));
      if (client !== undefined) return client;
      if (child.exitCode !== null || Date.now() > end) throw new Error(`the agent does not answer:\n${this.#log}`);
      await sleep(50);
    }
  }

  /** Stops the agent; its exit code. May be called twice. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const child = this.#agent;
    if (child === undefined) return 0;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, "exit");
    }
    this.#agent = undefined;
    return child.exitCode;
  }

  /** Runs another command through the agent. */
  async command(...args: readonly string[]): Promise<CliResult> {
    return finish(start([...args, "--socket", this.socket], { cwd: this.#folder }));
  }

  /** Asks until the status is as wanted, of an agent that somebody else has started too. */
  async until(what: string, wanted: (status: AgentStatus) => boolean, timeoutMs = longMs): Promise<AgentStatus> {
    const end = Date.now() + timeoutMs;
    let last: AgentStatus | undefined;
    while (Date.now() < end && (this.#agent?.exitCode ?? null) === null) {
      const client = await findAgent(this.socket, AbortSignal.timeout(longMs));
      last = (await client?.status({ signal: AbortSignal.timeout(longMs) }))?.runtimes[0];
      if (last !== undefined && wanted(last)) return last;
      await sleep(50);
    }
    throw new Error(`waited in vain until ${what}:\n${JSON.stringify(last, undefined, 1)}\n${this.#log}`);
  }

  async untilWarm(...names: readonly string[]): Promise<AgentStatus> {
    return this.until(`${names.join(", ")} are warm`, (status) =>
      names.every((name) => imageIn(status, name)?.phase === "Warm"),
    );
  }

  /** Output of a container that runs to its end. */
  async container(image: string): Promise<string> {
    return this.daemon.run({ namespace: "k8s.io", image });
  }

  /** What the agent is started with. */
  words(args: readonly string[] = []): string[] {
    const folders = ["--config", join(this.#folder, "config"), "--state", this.state];
    return ["agent", ...folders, "--socket", this.socket, "--address", this.address, ...args];
  }
}

export function imageIn({ images }: AgentStatus, name: string): ImageStatus | undefined {
  return images.find((image) => image.name === name);
}
