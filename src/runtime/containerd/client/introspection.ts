import type { Platform } from "../../../oci/descriptor.ts";
import { normalizePlatform } from "../../../oci/platform.ts";
import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type Decoded, labels, nested, nestedList, string, strings, uint64 } from "./message.ts";
import { empty, platformMessage, rpcStatus } from "./well-known.ts";

const pluginMessage = {
  type: string(1),
  id: string(2),
  requires: strings(3),
  platforms: nestedList(4, platformMessage),
  exports: labels(5),
  capabilities: strings(6),
  initErr: nested(7, rpcStatus),
};

const plugins = {
  name: "containerd.services.introspection.v1.Introspection/Plugins",
  request: { filters: strings(1) },
  response: { plugins: nestedList(1, pluginMessage) },
};

const server = {
  name: "containerd.services.introspection.v1.Introspection/Server",
  request: empty,
  response: { uuid: string(1), pid: uint64(2), pidns: uint64(3) },
};

/** For the comparison with the published API. */
export const introspectionMethods = { plugins, server };

/** A part of the daemon, such as type `io.containerd.snapshotter.v1`, id `overlayfs`. */
export type Plugin = {
  readonly type: string;
  readonly id: string;
  /** For instance `root`, its folder. */
  readonly exports: Readonly<Record<string, string>>;
  readonly capabilities: readonly string[];
  /** What it is for, where it says that. */
  readonly platforms: readonly Platform[];
  /** Why it does not run; `undefined` when it does. */
  readonly failure: string | undefined;
};

export type ServerInfo = {
  /** Stays over restarts. */
  readonly uuid: string;
  /** Of the daemon, in the PID namespace with inode `pidNamespace`; 0 where containerd does not say (1.6.20). */
  readonly pid: number;
  readonly pidNamespace: number;
};

/** What the daemon consists of. */
export type IntrospectionService = {
  /** All plugins, or those that one of the filters matches, such as `type==io.containerd.snapshotter.v1,id==overlayfs`. */
  plugins(filters?: readonly string[], options?: CallOptions): Promise<Plugin[]>;
  server(options?: CallOptions): Promise<ServerInfo>;
};

export function introspectionService(channel: Channel): IntrospectionService {
  return {
    async plugins(filters = [], options) {
      return (await channel.call(plugins, { filters }, options)).plugins.map(pluginOf);
    },
    async server(options) {
      const { uuid, pid, pidns } = await channel.call(server, {}, options);
      return { uuid, pid, pidNamespace: pidns };
    },
  };
}

function pluginOf({ type, id, exports, capabilities, platforms, initErr }: Decoded<typeof pluginMessage>): Plugin {
  const failure = initErr === undefined ? undefined : initErr.message || "failed";
  return { type, id, exports, capabilities, platforms: platforms.map(normalizePlatform), failure };
}
