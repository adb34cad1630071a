import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { basename, join } from "node:path";
import { type Daemon, run, startDaemon } from "../processes.ts";
import type { Scope } from "../temporary.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";
import { makeRuntimeImages, type RuntimeImages } from "./runtime-images.ts";

/** Where images are kept: Docker's own overlay2 store, or the containerd that it uses (namespace `moby`). */
export type DockerStore = "overlay2" | "containerd";

export type DockerSettings = {
  /** Further fields of daemon.json. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Further variables of the daemon. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A folder whose files the daemon sees in `/etc`; it runs in a mount namespace of its own then. */
  readonly etc?: string;
};

/**
 * A dockerd over a containerd of one's own, its files in a folder within that of containerd, with which they go. It has no
 * network: containers run with `--network none` or `host`.
 */
export class DockerDaemon {
  readonly version: string;
  readonly store: DockerStore;
  readonly containerd: ContainerdDaemon;
  readonly dataRoot: string;
  /** Path of the socket. */
  readonly address: string;
  readonly #scope: Scope;
  readonly #binaries: string;
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #settings: DockerSettings;
  #daemon: Daemon | undefined;

  constructor(
    scope: Scope,
    version: string,
    binaries: string,
    store: DockerStore,
    containerd: ContainerdDaemon,
    settings: DockerSettings = {},
  ) {
    this.#settings = settings;
    this.version = version;
    this.store = store;
    this.containerd = containerd;
    this.#scope = scope;
    this.#binaries = binaries;
    this.#directory = join(containerd.directory, "docker");
    this.dataRoot = join(this.#directory, "data");
    this.address = join(this.#directory, "s");
    this.#environment = {
      PATH: `${binaries}:${process.env.PATH}:/usr/sbin:/sbin`,
      TMPDIR: join(containerd.directory, "tmp"),
      DOCKER_HOST: `unix://${this.address}`,
      DOCKER_CONFIG: join(this.#directory, "client"),
      NOTIFY_SOCKET: "",
    };
  }

  /** Process id of the daemon; `undefined` while it is stopped. */
  get pid(): number | undefined {
    return this.#daemon?.pid;
  }

  /** Starts it on its folder, after `stop` or `kill` too, and waits until it answers. */
  async start(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const file = join(this.#directory, "daemon.json");
    await writeFile(file, JSON.stringify(this.#configuration()));
    const dockerd = [join(this.#binaries, "dockerd"), "--config-file", file];
    const { environment, etc } = this.#settings;
    const [program = "", ...words] = etc === undefined ? dockerd : await this.#withEtc(etc, dockerd);
    const settings = { logFile: join(this.#directory, "log"), env: { ...this.#environment, ...environment } };
    try {
      const isReady = () => answersPing(this.address);
      this.#daemon = await startDaemon(this.#scope, program, words, settings, isReady);
    } catch (error) {
      const end = (await this.log().catch(() => "")).slice(-4000);
      throw new Error(`dockerd ${this.version} does not start; the end of its log:\n${end}`, { cause: error });
    }
  }

  /** Ends it as a service manager does: SIGTERM, then waits. Its containers end too. */
  async stop(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  /** Ends it with SIGKILL and waits. */
  async kill(): Promise<void> {
    if (this.#daemon === undefined) return;
    process.kill(this.#daemon.pid, "SIGKILL");
    await this.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Runs `docker` against it; its stdout. Throws with its words when it fails. */
  async docker(...args: readonly string[]): Promise<string> {
    return run(join(this.#binaries, "docker"), args, { env: this.#environment, timeoutMs: 300_000 });
  }

  /** Runs a container to its end and removes it; its stdout. Throws with its words when it fails. */
  async run(image: string, ...command: readonly string[]): Promise<string> {
    // Read from the log: an attached client now and then shows nothing of a container that ends at once.
    const name = `run-${randomUUID()}`;
    try {
      await this.docker("run", "--detach", "--name", name, "--network", "none", image, ...command);
      const code = (await this.docker("wait", name)).trim();
      const output = await this.docker("logs", name);
      if (code !== "0") throw new Error(`container of ${image} ended with ${code}: ${output}`);
      return output;
    } finally {
      await this.docker("rm", "--force", name).catch(() => {});
    }
  }

  /**
   * Starts a container that runs until it is removed, or the daemon or the scope ends; its id. It is stopped with SIGKILL:
   * a plain program that is the first process of its namespace ignores SIGTERM, and everything would wait ten seconds.
   */
  async runDetached(image: string, ...command: readonly string[]): Promise<string> {
    const options = ["--detach", "--network", "none", "--stop-signal", "KILL"];
    return (await this.docker("run", ...options, image, ...command)).trim();
  }

  /** Loads the pause and the probe image. */
  async loadRuntimeImages(): Promise<RuntimeImages> {
    const images = await makeRuntimeImages(join(this.#directory, `images-${randomUUID()}`));
    await this.docker("load", "--input", images.archive);
    return images;
  }

  /** All that the daemon wrote, through its restarts. */
  async log(): Promise<string> {
    return readFile(join(this.#directory, "log"), "utf8");
  }

  /** A mount namespace, in which files of a folder lie over those of `/etc`. The process becomes the daemon. */
  async #withEtc(etc: string, dockerd: readonly string[]): Promise<string[]> {
    const work = `${etc}-work`;
    await mkdir(work, { recursive: true });
    const mount = `mount -t overlay overlay -o "lowerdir=/etc,upperdir=${etc},workdir=${work}" /etc && exec "$@"`;
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", mount, "sh", ...dockerd];
  }

  /** Nothing outside of the folder, no rule, bridge or setting of the host's network. */
  #configuration(): object {
    return {
      "data-root": this.dataRoot,
      "exec-root": join(this.#directory, "exec"),
      pidfile: join(this.#directory, "pid"),
      hosts: [`unix://${this.address}`],
      containerd: this.containerd.address,
      "cgroup-parent": `/${basename(this.containerd.directory)}`,
      "exec-opts": ["native.cgroupdriver=cgroupfs"],
      bridge: "none",
      iptables: false,
      "ip-forward": false,
      "ip-masq": false,
      "userland-proxy": false,
      // 20.10 keeps a key of its own, which newer ones know no more.
      ...(this.version.startsWith("20.") && { "deprecated-key-path": join(this.#directory, "key.json") }),
      ...(this.store === "containerd"
        ? { features: { "containerd-snapshotter": true } }
        : { "storage-driver": "overlay2" }),
      ...this.#settings.configuration,
    };
  }
}

function answersPing(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: "/_ping", timeout: 1000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    ping.on("error", () => resolve(false));
    ping.end();
  });
}
