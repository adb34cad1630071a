import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type Decoded, labels, nestedList, string, strings } from "./message.ts";

const containerMessage = {
  id: string(1),
  labels: labels(2),
  image: string(3),
  snapshotter: string(6),
  snapshotKey: string(7),
  sandbox: string(11),
};

const list = {
  name: "containerd.services.containers.v1.Containers/List",
  request: { filters: strings(1) },
  response: { containers: nestedList(1, containerMessage) },
};

/** For the comparison with the published API. */
export const containerMethods = { list };

/** A container's record; it runs, ran, or never did. */
export type Container = Decoded<typeof containerMessage>;

export type ContainerService = {
  /** All, or those that one of the filters matches. */
  list(filters?: readonly string[], options?: CallOptions): Promise<readonly Container[]>;
};

export function containerService(channel: Channel): ContainerService {
  return {
    async list(filters = [], options) {
      return (await channel.call(list, { filters }, options)).containers;
    },
  };
}
