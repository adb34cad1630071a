import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { type Daemon, run, startDaemon } from "../processes.ts";
import { guardedDirectory } from "../runtimes/guarded-directory.ts";
import type { Scope } from "../temporary.ts";
import { type SnapshotterName, snapshotterProgram } from "./snapshotter-programs.ts";

/** A snapshotter that containerd asks over a socket: it can be stopped, killed and started again on its folder. */
export class RemoteSnapshotter {
  readonly name: SnapshotterName;
  /** Its socket. */
  readonly address: string;
  /** Folder with all that it keeps: a file system of its own, of 128 MiB. */
  readonly root: string;
  readonly #scope: Scope;
  readonly #directory: string;
  readonly #command: readonly [program: string, ...args: readonly string[]];
  #daemon: Daemon | undefined;

  private constructor(scope: Scope, name: SnapshotterName, program: string, directory: string) {
    this.name = name;
    this.address = join(directory, "s");
    this.root = join(directory, "root");
    this.#scope = scope;
    this.#directory = directory;
    const serve = ["serve", this.root, this.address];
    const words = { stargz: serve, soci: [...serve, this.#containerd], overlaybd: [join(directory, "config.json")] };
    this.#command = [program, ...words[name]];
  }

  /** Starts one for as long as the scope lasts. Throws where its program cannot be had. */
  static async start(scope: Scope, name: SnapshotterName): Promise<RemoteSnapshotter> {
    const { path, reason } = await snapshotterProgram(name);
    if (path === undefined) throw new Error(reason);
    const directory = await guardedDirectory(scope, name);
    const snapshotter = new RemoteSnapshotter(scope, name, path, directory);
    const { root, address } = snapshotter;
    await mkdir(root);
    await run("mount", ["-t", "tmpfs", "-o", "size=128m,mode=711", "tmpfs", root]);
    await writeFile(join(directory, "config.json"), JSON.stringify({ root, address, rwMode: "overlayfs" }));
    await snapshotter.start();
    return snapshotter;
  }

  async start(): Promise<void> {
    const [program, ...args] = this.#command;
    const settings = { logFile: join(this.#directory, "log") };
    this.#daemon = await startDaemon(this.#scope, program, args, settings, () => answers(this.address));
  }

  /** Tells it where the containerd is that uses it: SOCI keeps its tables there. */
  async serves(containerd: { readonly address: string }): Promise<void> {
    await symlink(containerd.address, this.#containerd);
  }

  get #containerd(): string {
    return join(this.#directory, "containerd");
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  async kill(): Promise<void> {
    if (this.#daemon === undefined) return;
    process.kill(this.#daemon.pid, "SIGKILL");
    await this.stop();
  }

  /** All that it wrote. */
  async log(): Promise<string> {
    return readFile(join(this.#directory, "log"), "utf8");
  }
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}
