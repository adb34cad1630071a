import assert from "node:assert/strict";
import { type CliResult, finish, start, succeed } from "../cli.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import type { ContainerdDaemon, ContainerdOptions } from "./containerd-daemon.ts";
import { type ContainerdRuntime, containerdRuntimes } from "./fleet.ts";
import { type InjectionImages, makeInjectionDisk, makeInjectionImages } from "./injection.ts";

/** The oldest and the newest containerd: what the command line does is the same with those between. */
export async function outermostRuntimes(): Promise<readonly ContainerdRuntime[]> {
  const runtimes = await containerdRuntimes();
  return [runtimes[0], runtimes.at(-1)].filter((runtime) => runtime !== undefined);
}

/** A containerd of its own, a disk for it, and the program as users run it. */
export class NodeCli {
  readonly daemon: ContainerdDaemon;
  readonly images: InjectionImages;
  readonly disk: { readonly path: string; readonly id: string };
  readonly #cwd: string;

  private constructor(
    daemon: ContainerdDaemon,
    images: InjectionImages,
    disk: { readonly path: string; readonly id: string },
    cwd: string,
  ) {
    this.daemon = daemon;
    this.images = images;
    this.disk = disk;
    this.#cwd = cwd;
  }

  static async start(scope: Scope, runtime: ContainerdRuntime, options: ContainerdOptions = {}): Promise<NodeCli> {
    const images = await makeInjectionImages(scope);
    const disk = await makeInjectionDisk(scope, images);
    const cwd = await temporaryDirectory(scope, "cwd");
    return new NodeCli(await runtime.start(scope, options), images, disk, cwd);
  }

  /** Folder with the snapshots of the default snapshotter. */
  get snapshots(): string {
    return `${this.daemon.root}/io.containerd.snapshotter.v1.overlayfs/snapshots`;
  }

  /** Runs a command against the daemon. */
  async run(command: string, ...args: readonly string[]): Promise<CliResult> {
    return finish(start(this.#words(command, args), { cwd: this.#cwd }));
  }

  /** As `run`, for what must succeed. */
  async succeed(command: string, ...args: readonly string[]): Promise<CliResult> {
    return succeed(this.#words(command, args), { cwd: this.#cwd });
  }

  /** Starts a command and does not wait for its end. */
  begin(command: string, ...args: readonly string[]) {
    return start(this.#words(command, args), { cwd: this.#cwd });
  }

  /** What `status --json` says of the disk; `undefined` when it is not injected. */
  async status(id = this.disk.id): Promise<ShownDisk | undefined> {
    const { stdout } = await this.succeed("status", "--json");
    const { runtimes } = JSON.parse(stdout) as { runtimes: { disks: ShownDisk[] }[] };
    assert.equal(runtimes.length, 1);
    return runtimes[0]?.disks.find((disk) => disk.id === id);
  }

  /** Output of a container that runs to its end. */
  async container(image: string): Promise<string> {
    return this.daemon.run({ namespace: "k8s.io", image });
  }

  #words(command: string, args: readonly string[]): string[] {
    return [command, ...args, ...(command === "mount" ? [] : ["--address", this.daemon.address])];
  }
}

type ShownCondition = { readonly type: string; readonly message: string };

/** A disk in the JSON output of `nodewarm status`. */
export type ShownDisk = {
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  readonly source: string;
  readonly isMounted: boolean;
  readonly images: readonly {
    readonly names: readonly string[];
    readonly chain: string;
    readonly conditions: readonly ShownCondition[];
  }[];
  readonly heldBy: readonly { readonly kind: string; readonly name: string }[];
  readonly conditions: readonly ShownCondition[];
};

/** Types of all conditions of a disk and of its images, sorted. */
export function conditionTypes(disk: ShownDisk | undefined): string[] {
  const all = [...(disk?.conditions ?? []), ...(disk?.images.flatMap(({ conditions }) => conditions) ?? [])];
  return all.map(({ type }) => type).sort();
}
