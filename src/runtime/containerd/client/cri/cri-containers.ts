import { RuntimeError } from "../../../runtime-error.ts";
import type { Channel } from "../channel.ts";
import type { CallOptions } from "../grpc-call.ts";
import { type Decoded, type Encodable, int64, nested, nestedList, string, strings } from "../message.ts";
import {
  containerConfig,
  containerMessage,
  containerStates,
  containerStatus,
  execResult,
  sandboxConfig,
} from "./cri-messages.ts";
import type { PodSandboxConfig } from "./cri-pods.ts";

const service = "runtime.v1.RuntimeService";
const byID = { containerId: string(1) };

const create = {
  name: `${service}/CreateContainer`,
  request: { podSandboxId: string(1), config: nested(2, containerConfig), sandboxConfig: nested(3, sandboxConfig) },
  response: byID,
};
const start = { name: `${service}/StartContainer`, request: byID, response: {} };
const stop = { name: `${service}/StopContainer`, request: { ...byID, timeout: int64(2) }, response: {} };
const remove = { name: `${service}/RemoveContainer`, request: byID, response: {} };
const status = { name: `${service}/ContainerStatus`, request: byID, response: { status: nested(1, containerStatus) } };
const list = {
  name: `${service}/ListContainers`,
  request: { filter: nested(1, { id: string(1), podSandboxId: string(3) }) },
  response: { containers: nestedList(1, containerMessage) },
};
const execSync = {
  name: `${service}/ExecSync`,
  request: { ...byID, cmd: strings(2), timeout: int64(3) },
  response: execResult,
};

/** For the comparison with the published API. */
export const criContainerMethods = { create, start, stop, remove, status, list, execSync };

/** ContainerConfig; metadata and image are what containerd asks for at least. */
export type ContainerConfig = Encodable<typeof containerConfig>;

export type ContainerState = (typeof containerStates)[number];

export type CriContainerStatus = {
  readonly id: string;
  readonly state: ContainerState;
  /** Meaningful when exited. */
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly imageRef: string;
  readonly logPath: string;
};

export type CriContainer = {
  readonly id: string;
  readonly podSandboxId: string;
  readonly name: string;
  readonly state: ContainerState;
  /** The image as the container's config named it. */
  readonly image: string;
  readonly imageRef: string;
};

export type ExecResult = Decoded<typeof execResult>;

/** Life of containers, from `runtime.v1.RuntimeService`. */
export type CriContainerService = {
  /** Its id; `sandbox` is the configuration that its pod was run with. */
  create(podID: string, config: ContainerConfig, sandbox: PodSandboxConfig, options?: CallOptions): Promise<string>;
  start(id: string, options?: CallOptions): Promise<void>;
  /** Killed after `graceSeconds` (default: 0). */
  stop(id: string, options?: CallOptions & { readonly graceSeconds?: number }): Promise<void>;
  remove(id: string, options?: CallOptions): Promise<void>;
};

/** Containers looked at, and into. */
export type CriContainerInspection = {
  /** Throws `not-found`. */
  status(id: string, options?: CallOptions): Promise<CriContainerStatus>;
  /** All, or those of one pod. */
  list(options?: CallOptions & { readonly podID?: string }): Promise<CriContainer[]>;
  /** Runs a program in a running container to its end. `timeoutMs` is the time it has, too, in whole seconds. */
  exec(id: string, command: readonly string[], options?: CallOptions): Promise<ExecResult>;
};

export function criContainerService(channel: Channel): CriContainerService {
  return {
    async create(podSandboxId, config, sandbox, options) {
      const request = { podSandboxId, config, sandboxConfig: sandbox };
      return (await channel.call(create, request, options)).containerId;
    },
    async start(containerId, options) {
      await channel.call(start, { containerId }, options);
    },
    async stop(containerId, { graceSeconds = 0, ...options } = {}) {
      await channel.call(stop, { containerId, timeout: graceSeconds }, options);
    },
    async remove(containerId, options) {
      await channel.call(remove, { containerId }, options);
    },
  };
}

export function criContainerInspection(channel: Channel): CriContainerInspection {
  return {
    async status(containerId, options) {
      const answer = (await channel.call(status, { containerId }, options)).status;
      if (answer === undefined) throw new RuntimeError("internal", `the CRI answered without container ${containerId}`);
      const { id, exitCode, reason, message, imageRef, logPath } = answer;
      return { id, state: stateOf(answer.state), exitCode, reason, message, imageRef, logPath };
    },
    async list({ podID = "", ...options } = {}) {
      const { containers } = await channel.call(list, { filter: { podSandboxId: podID } }, options);
      return containers.map(({ id, podSandboxId, metadata, state, image, imageRef }) => {
        return {
          id,
          podSandboxId,
          name: metadata?.name ?? "",
          state: stateOf(state),
          image: image?.image ?? "",
          imageRef,
        };
      });
    },
    async exec(containerId, command, options = {}) {
      const timeout = Math.ceil((options.timeoutMs ?? 0) / 1000);
      return channel.call(execSync, { containerId, cmd: command, timeout }, options);
    },
  };
}

function stateOf(state: number): ContainerState {
  return containerStates[state] ?? "unknown";
}
