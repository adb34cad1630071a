import { isRuntimeError } from "../../runtime-error.ts";
import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type Decoded, string } from "./message.ts";
import { wrongProgram } from "./socket-failure.ts";
import { empty } from "./well-known.ts";

const version = {
  name: "containerd.services.version.v1.Version/Version",
  request: empty,
  response: { version: string(1), revision: string(2) },
};

/** For the comparison with the published API. */
export const versionMethods = { version };

/** As the daemon says it, e.g. `1.6.20~ds1` of Debian's or `v2.1.9` of upstream's. */
export type ContainerdVersion = Decoded<typeof version.response>;

/** Which containerd answers. */
export type VersionService = {
  /** Throws `RuntimeError`, with the code `wrong-program` when what answers is no containerd. */
  get(options?: CallOptions): Promise<ContainerdVersion>;
};

export function versionService(channel: Channel): VersionService {
  return {
    async get(options) {
      try {
        return await channel.call(version, {}, options);
      } catch (error) {
        if (!isRuntimeError(error, "unimplemented")) throw error;
        throw wrongProgram(channel.address, "speaks gRPC, but is no containerd", error);
      }
    },
  };
}
