import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { openCri } from "../../../src/runtime/containerd/client/cri/cri-client.ts";
import type { CriStatus } from "../../../src/runtime/containerd/client/cri/cri-runtime.ts";
import { type Daemon, run, startDaemon } from "../processes.ts";
import type { Scope } from "../temporary.ts";
import {
  type ContainerdSettings,
  containerdConfiguration,
  defaultSnapshotter,
  type Snapshotter,
} from "./containerd-configuration.ts";
import { guardedDirectory } from "./guarded-directory.ts";
import { makeRuntimeImages, type RuntimeImages } from "./runtime-images.ts";

export type ContainerdOptions = ContainerdSettings & {
  /** Folders of programs for the daemon and its shims, before containerd's own. */
  readonly path?: readonly string[];
  /** Further variables of the daemon. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A process in whose mount namespace the daemon and its tools run. Default: ours. */
  readonly mountNamespaceOf?: number;
};

export type ContainerOptions = {
  readonly image: string;
  /** Default: what the image says. */
  readonly command?: readonly string[];
  /** Default: `default`. */
  readonly namespace?: string;
  /** Default: the daemon's. */
  readonly snapshotter?: string;
  /** Further options of `ctr run`. */
  readonly options?: readonly string[];
};

/**
 * A containerd with CRI whose every file lies in a folder of its own. It can be stopped, killed and started again on the
 * same folder; containers live on meanwhile, as they do on a node. The end of the scope clears all of it away.
 */
export class ContainerdDaemon {
  readonly version: string;
  /** Folder of everything; its base name is the parent control group of containers. */
  readonly directory: string;
  /** Path of the socket. */
  readonly address: string;
  readonly root: string;
  readonly state: string;
  /** The socket's form that CRI clients name: `unix://…`. */
  readonly endpoint: string;
  /** That of CRI, of imports and of containers unless they say otherwise. */
  readonly snapshotter: Snapshotter;
  readonly #scope: Scope;
  readonly #binaries: string;
  readonly #environment: Readonly<Record<string, string>>;
  /** Of a program that runs the daemon and `ctr` in their place. */
  readonly #command: readonly string[];
  #daemon: Daemon | undefined;

  /** `directory` holds the configuration already: see `startContainerdDaemon`. */
  constructor(scope: Scope, version: string, binaries: string, directory: string, options: ContainerdOptions) {
    this.version = version;
    this.snapshotter = defaultSnapshotter(options);
    this.directory = directory;
    this.address = join(directory, "s");
    this.endpoint = `unix://${this.address}`;
    this.root = join(directory, "root");
    this.state = join(directory, "state");
    this.#scope = scope;
    this.#binaries = binaries;
    const { mountNamespaceOf } = options;
    this.#command = mountNamespaceOf === undefined ? [] : ["nsenter", `--mount=/proc/${mountNamespaceOf}/ns/mnt`, "--"];
    const folders = [...(options.path ?? []), binaries, process.env.PATH, "/usr/sbin", "/sbin"];
    this.#environment = {
      PATH: folders.join(":"),
      TMPDIR: join(directory, "tmp"),
      NOTIFY_SOCKET: "",
      ...options.environment,
    };
  }

  /** Process id of the daemon; `undefined` while it is stopped. */
  get pid(): number | undefined {
    return this.#daemon?.pid;
  }

  /** Starts it on its folder, after `stop` or `kill` too, and waits until it answers. */
  async start(): Promise<void> {
    const containerd = [join(this.#binaries, "containerd"), "--config", join(this.directory, "config.toml")];
    const [program = "", ...words] = [...this.#command, ...containerd];
    const settings = { logFile: join(this.directory, "log"), env: this.#environment };
    // CRI is the last of its services to answer.
    using cri = openCri(this.address);
    const isReady = () =>
      cri.runtime.status({ timeoutMs: 1000 }).then(
        ({ conditions }) => ["RuntimeReady", "NetworkReady"].every((type) => isTrue(conditions, type)),
        () => false,
      );
    try {
      this.#daemon = await startDaemon(this.#scope, program, words, settings, isReady);
    } catch (error) {
      throw new Error(`containerd ${this.version} does not start; the end of its log:\n${await this.logEnd()}`, {
        cause: error,
      });
    }
  }

  /** Ends it as a service manager does: SIGTERM, then waits. */
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

  /** Runs `ctr` against it; its stdout. Throws with its words when it fails. Containers: `run` and `runDetached`. */
  async ctr(...args: readonly string[]): Promise<string> {
    const options = { env: this.#environment, timeoutMs: 300_000 };
    // It mounts what it is to run, too.
    const [program = "", ...words] = [...this.#command, join(this.#binaries, "ctr"), "-a", this.address, ...args];
    return run(program, words, options);
  }

  /** Runs a container to its end and removes it; what it wrote. Throws with its words when it fails. */
  async run(container: ContainerOptions): Promise<string> {
    const id = `c-${randomUUID()}`;
    // Written by the shim: ctr gives up streams that it has not opened yet when a short container ends, and what was in them.
    const output = join(this.directory, `${id}.output`);
    const read = () => readFile(output, "utf8").catch(() => "");
    try {
      await this.#run(id, container, ["--rm", "--log-uri", `file://${output}`]);
      return await read();
    } catch (cause) {
      throw new Error(`container of ${container.image}: ${cause}\n${await read()}`, { cause });
    }
  }

  /** Starts a container that runs until its process ends or the scope does; its id. */
  async runDetached(container: ContainerOptions): Promise<string> {
    const id = `c-${randomUUID()}`;
    await this.#run(id, container, ["--detach", "--null-io"]);
    return id;
  }

  /** `ctr run` alone would keep state of the container in folders and a control group that all daemons share. */
  async #run(id: string, container: ContainerOptions, options: readonly string[]): Promise<string> {
    return this.ctr(
      ...["--namespace", container.namespace ?? "default", "run", ...options],
      ...["--snapshotter", container.snapshotter ?? this.snapshotter, "--cgroup", join(this.cgroupParent, id)],
      ...["--runc-root", join(this.directory, "runc"), "--fifo-dir", join(this.directory, "fifo")],
      ...(container.options ?? []),
      ...[container.image, id, ...(container.command ?? [])],
    );
  }

  /** Imports the pause and the probe image into a namespace: `k8s.io` is that of CRI. */
  async importRuntimeImages(namespace = "k8s.io", snapshotter: string = this.snapshotter): Promise<RuntimeImages> {
    const images = await makeRuntimeImages(join(this.directory, `images-${randomUUID()}`));
    await this.ctr("--namespace", namespace, "images", "import", "--snapshotter", snapshotter, images.archive);
    return images;
  }

  /** Control group below which the containers of a test belong, so that none stays. */
  get cgroupParent(): string {
    return `/${basename(this.directory)}`;
  }

  /** All that the daemon wrote, through its restarts. */
  async log(): Promise<string> {
    return readFile(join(this.directory, "log"), "utf8");
  }

  async logEnd(): Promise<string> {
    return (await this.log().catch(() => "")).slice(-4000);
  }
}

function isTrue(conditions: CriStatus["conditions"], type: string): boolean {
  return conditions.some((condition) => condition.type === type && condition.status);
}

/** Starts a containerd of `version`, whose programs are in the folder `binaries`, for as long as the scope lasts. */
export async function startContainerdDaemon(
  scope: Scope,
  version: string,
  binaries: string,
  options: ContainerdOptions = {},
): Promise<ContainerdDaemon> {
  const directory = await guardedDirectory(scope, "ctd");
  for (const name of ["tmp", "cni/bin", "cni/conf", "hosts"]) await mkdir(join(directory, name), { recursive: true });
  await writeFile(join(directory, "config.toml"), containerdConfiguration(version, directory, options));
  await writeNetwork(join(directory, "cni"));
  const daemon = new ContainerdDaemon(scope, version, binaries, directory, options);
  await daemon.start();
  return daemon;
}

/**
 * A pod network that reports an address and makes no interface: pods of the tests need none, and the host keeps its
 * network as it is. containerd asks for a plugin `loopback` beside the network's own (CNI spec 0.4.0, "Result").
 */
async function writeNetwork(directory: string): Promise<void> {
  const network = { cniVersion: "0.4.0", name: "test", plugins: [{ type: "unconnected" }] };
  await writeFile(join(directory, "conf/10-test.conflist"), JSON.stringify(network));
  const result = {
    cniVersion: "0.4.0",
    interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/" }],
    ips: [{ version: "4", interface: 0, address: "192.0.2.2/24" }],
    dns: {},
  };
  const versions = { cniVersion: "0.4.0", supportedVersions: ["0.3.1", "0.4.0"] };
  const script = `#!/bin/sh
case "$CNI_COMMAND" in
  ADD) echo '${JSON.stringify(result)}' ;;
  VERSION) echo '${JSON.stringify(versions)}' ;;
esac
`;
  for (const name of ["loopback", "unconnected"]) {
    await writeFile(join(directory, "bin", name), script);
    await chmod(join(directory, "bin", name), 0o755);
  }
}
