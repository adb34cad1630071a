import { randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CriClient, openCri } from "../../../src/runtime/containerd/client/cri/cri-client.ts";
import type { ContainerConfig } from "../../../src/runtime/containerd/client/cri/cri-containers.ts";
import { mountPropagations, namespaceModes } from "../../../src/runtime/containerd/client/cri/cri-messages.ts";
import type { PodSandboxConfig } from "../../../src/runtime/containerd/client/cri/cri-pods.ts";
import { waitUntil } from "../processes.ts";
import type { Scope } from "../temporary.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";

export type PodOptions = {
  /** A reference or an image's id; the image must be there. */
  readonly image: string;
  /** Default: what the image says. */
  readonly command?: readonly string[];
  /** After the command, be it the image's or this one. Default: what the image says. */
  readonly args?: readonly string[];
  /** Privileged, with the process ids and the network of the host, as pods are that look after their node. */
  readonly ofNode?: boolean;
  readonly mounts?: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly readonly?: boolean;
    /** What is mounted on the host there, and unmounted, is in the pod. */
    readonly hostToContainer?: boolean;
  }[];
  /** The pod's own user namespace: its ids from 0 on are those of the host from `firstID` on (`hostUsers: false`). */
  readonly userNamespace?: { readonly firstID: number; readonly length: number };
  /** Runtime handler, as a runtime class names it. Default: that of the configuration. */
  readonly handler?: string;
};

/** A pod of one container, started as kubelet does. */
export class Pod {
  readonly id: string;
  readonly containerID: string;
  readonly #cri: CriClient;
  readonly #logFile: string;

  constructor(cri: CriClient, id: string, containerID: string, logFile: string) {
    this.#cri = cri;
    this.id = id;
    this.containerID = containerID;
    this.#logFile = logFile;
  }

  /** Waits until the container has ended; its exit code. */
  async exitCode(): Promise<number> {
    let code = 0;
    await waitUntil(`container ${this.containerID} has ended`, async () => {
      const status = await this.#cri.inspection.status(this.containerID);
      code = status.exitCode;
      return status.state === "exited";
    });
    return code;
  }

  /** What the container has written to stdout and stderr so far. */
  async output(): Promise<string> {
    const log = await readFile(this.#logFile, "utf8").catch(() => "");
    return textOfLog(log);
  }

  /** Runs a program in the container; its stdout. Throws with its words when it fails. */
  async exec(...command: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.#cri.inspection.exec(this.containerID, command);
    const [out, err] = [stdout, stderr].map((bytes) => Buffer.from(bytes).toString());
    if (exitCode !== 0) throw new Error(`${command.join(" ")} in the pod: ${exitCode}: ${out}${err}`);
    return out ?? "";
  }

  /** Stops and removes container and sandbox. */
  async remove(): Promise<void> {
    await this.#cri.containers.stop(this.containerID);
    await this.#cri.containers.remove(this.containerID);
    await this.#cri.pods.stop(this.id);
    await this.#cri.pods.remove(this.id);
  }
}

/** A connection to a daemon's CRI until the scope ends. */
export function connectCri(scope: Scope, daemon: ContainerdDaemon): CriClient {
  const cri = openCri(daemon.address);
  scope.defer(() => cri.close());
  return cri;
}

/**
 * Runs a pod: sandbox, container, start. The daemon needs the pause image (`importRuntimeImages`). A sandbox whose container
 * cannot be made or started is removed again.
 */
export async function runPod(daemon: ContainerdDaemon, cri: CriClient, options: PodOptions): Promise<Pod> {
  const uid = randomUUID();
  const logDirectory = join(daemon.directory, "pods", uid);
  await mkdir(logDirectory, { recursive: true });
  const privileged = options.ofNode ?? false;
  const own = privileged ? namespaceModes.node : namespaceModes.container;
  const namespaceOptions = {
    pid: own,
    ...(privileged && { network: namespaceModes.node }),
    ...userNamespaceOf(options),
  };
  const sandbox: PodSandboxConfig = {
    metadata: { name: "pod", uid, namespace: "default", attempt: 0 },
    logDirectory,
    linux: { cgroupParent: join(daemon.cgroupParent, uid), securityContext: { namespaceOptions, privileged } },
  };
  const container: ContainerConfig = {
    metadata: { name: "main", attempt: 0 },
    image: { image: options.image },
    command: options.command ?? [],
    args: options.args ?? [],
    mounts: (options.mounts ?? []).map(({ hostToContainer = false, ...mount }) => ({
      ...mount,
      propagation: hostToContainer ? mountPropagations.hostToContainer : mountPropagations.private,
    })),
    logPath: "main.log",
    linux: { securityContext: { namespaceOptions, privileged } },
  };
  const id = await cri.pods.run(sandbox, options.handler === undefined ? {} : { runtimeHandler: options.handler });
  try {
    const containerID = await cri.containers.create(id, container, sandbox);
    await cri.containers.start(containerID);
    return new Pod(cri, id, containerID, join(logDirectory, "main.log"));
  } catch (error) {
    await cri.pods.stop(id);
    await cri.pods.remove(id);
    throw error;
  }
}

/** Runs a pod to its end and removes it; what it wrote. Throws when its exit code is not 0. */
export async function runPodToEnd(daemon: ContainerdDaemon, cri: CriClient, options: PodOptions): Promise<string> {
  const pod = await runPod(daemon, cri, options);
  try {
    const code = await pod.exitCode();
    // The log is written by another process, which may be a moment behind; few pods write nothing.
    for (let tries = 0; tries < 500 && code === 0 && (await pod.output()) === ""; tries++) await sleep(10);
    if (code !== 0) throw new Error(`the pod ended with ${code}: ${await pod.output()}`);
    return await pod.output();
  } finally {
    await pod.remove();
  }
}

function userNamespaceOf({ userNamespace }: PodOptions): { usernsOptions?: object } {
  if (userNamespace === undefined) return {};
  const mapping = [{ hostId: userNamespace.firstID, containerId: 0, length: userNamespace.length }];
  return { usernsOptions: { mode: namespaceModes.pod, uids: mapping, gids: mapping } };
}

/** CRI log lines: time, stream, `F` for a full line or `P` for a part, text (Kubernetes' CRI logging design). */
function textOfLog(log: string): string {
  const lines = log.split("\n").filter((line) => line !== "");
  return lines
    .map((line) => {
      const [, , tag, ...words] = line.split(" ");
      return words.join(" ") + (tag === "F" ? "\n" : "");
    })
    .join("");
}
