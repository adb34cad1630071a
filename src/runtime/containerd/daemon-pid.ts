import { isRuntimeError } from "../runtime-error.ts";
import type { ContainerdClient } from "./client/containerd-client.ts";
import type { CallOptions } from "./client/grpc-call.ts";
import { socketOwner } from "./socket-owner.ts";

/** Where its file with its own UUID is empty, containerd 1.6 does not tell its process either. It does not sync that file: a power cut may leave it so. */
const spoiledUuid = /UUID/;

/** The process of a containerd, in this PID namespace. `undefined` when it is not to be seen. Throws `RuntimeError`. */
export async function daemonPid(client: ContainerdClient, options?: CallOptions): Promise<number | undefined> {
  return (await toldPid(client, options)) || socketOwner(client.address);
}

/** 0 where containerd does not say. */
async function toldPid(client: ContainerdClient, options?: CallOptions): Promise<number> {
  try {
    return (await client.introspection.server(options)).pid;
  } catch (error) {
    if (isRuntimeError(error, "unknown") && spoiledUuid.test(error.message)) return 0;
    throw error;
  }
}
