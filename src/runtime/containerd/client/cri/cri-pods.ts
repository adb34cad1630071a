import type { Channel } from "../channel.ts";
import type { CallOptions } from "../grpc-call.ts";
import { type Encodable, nested, string } from "../message.ts";
import { sandboxConfig } from "./cri-messages.ts";

const service = "runtime.v1.RuntimeService";

const run = {
  name: `${service}/RunPodSandbox`,
  request: { config: nested(1, sandboxConfig), runtimeHandler: string(2) },
  response: { podSandboxId: string(1) },
};
const stop = { name: `${service}/StopPodSandbox`, request: { podSandboxId: string(1) }, response: {} };
const remove = { name: `${service}/RemovePodSandbox`, request: { podSandboxId: string(1) }, response: {} };

/** For the comparison with the published API. */
export const criPodMethods = { run, stop, remove };

/** PodSandboxConfig; metadata (name, uid, namespace) is what containerd asks for at least. */
export type PodSandboxConfig = Encodable<typeof sandboxConfig>;

/** Pod sandboxes of `runtime.v1.RuntimeService`. */
export type CriPodService = {
  /** Its id. Starts the pause container. */
  run(config: PodSandboxConfig, options?: CallOptions & { readonly runtimeHandler?: string }): Promise<string>;
  /** Its containers too; one that is not there is no error. */
  stop(id: string, options?: CallOptions): Promise<void>;
  remove(id: string, options?: CallOptions): Promise<void>;
};

export function criPodService(channel: Channel): CriPodService {
  return {
    async run(config, { runtimeHandler = "", ...options } = {}) {
      return (await channel.call(run, { config, runtimeHandler }, options)).podSandboxId;
    },
    async stop(podSandboxId, options) {
      await channel.call(stop, { podSandboxId }, options);
    },
    async remove(podSandboxId, options) {
      await channel.call(remove, { podSandboxId }, options);
    },
  };
}
