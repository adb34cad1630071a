import type { Channel } from "../channel.ts";
import type { CallOptions } from "../grpc-call.ts";
import { bool, type Decoded, labels, nested, nestedList, string } from "../message.ts";
import { conditionMessage, handlerMessage } from "./cri-messages.ts";

const service = "runtime.v1.RuntimeService";

const version = {
  name: `${service}/Version`,
  request: { version: string(1) },
  response: { version: string(1), runtimeName: string(2), runtimeVersion: string(3), runtimeApiVersion: string(4) },
};
const status = {
  name: `${service}/Status`,
  request: { verbose: bool(1) },
  response: {
    status: nested(1, { conditions: nestedList(1, conditionMessage) }),
    info: labels(2),
    runtimeHandlers: nestedList(3, handlerMessage),
  },
};

/** For the comparison with the published API. */
export const criRuntimeMethods = { version, status };

export type CriVersion = Decoded<typeof version.response>;

export type CriRuntimeHandler = {
  /** Empty for the default one. */
  readonly name: string;
  readonly hasUserNamespaces: boolean;
};

export type CriStatus = {
  /** `RuntimeReady`, `NetworkReady` and those of the runtime's own. */
  readonly conditions: readonly Decoded<typeof conditionMessage>[];
  /** Only from containerd 2.0 on. */
  readonly handlers: readonly CriRuntimeHandler[];
  /** Only when verbose: JSON documents by name; `config` is the CRI plugin's configuration. */
  readonly info: Readonly<Record<string, string>>;
};

/** The runtime itself, from `runtime.v1.RuntimeService`. */
export type CriRuntimeService = {
  /** Throws `unimplemented` when the CRI plugin is switched off. */
  version(options?: CallOptions): Promise<CriVersion>;
  status(options?: CallOptions & { readonly verbose?: boolean }): Promise<CriStatus>;
};

export function criRuntimeService(channel: Channel): CriRuntimeService {
  return {
    version: (options) => channel.call(version, { version: "v1" }, options),
    async status({ verbose = false, ...options } = {}) {
      const answer = await channel.call(status, { verbose }, options);
      return {
        conditions: answer.status?.conditions ?? [],
        handlers: answer.runtimeHandlers.map(({ name, features }) => ({
          name,
          hasUserNamespaces: features?.userNamespaces ?? false,
        })),
        info: answer.info,
      };
    },
  };
}
