import { resolve } from "node:path";
import type { ParseArgsOptionsConfig } from "node:util";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import type { RuntimeRequest } from "../../runtime/discovery.ts";
import { suggestion } from "../closest-word.ts";
import { UsageError } from "../usage-error.ts";

/** Options of all commands that speak to a container runtime. */
export const runtimeOptions = {
  socket: { type: "string" },
  runtime: { type: "string" },
  address: { type: "string" },
  namespace: { type: "string" },
} as const satisfies ParseArgsOptionsConfig;

export const runtimeHelp = `Which runtime:
      --runtime auto|containerd|docker
                            auto (the default): every containerd that runs pods, that of k3s, RKE2 and microk8s too, and
                            Docker where it keeps its images in containerd. Docker with overlay2 only when asked for
      --address SOCKET      socket of the runtime (default: the usual places)
      --namespace NAME      namespace of containerd (default: k8s.io, that of pods)
`;

/** For commands that leave the work to a running agent. */
export const agentHelp = `      --socket FILE         of an agent: where it listens, it does the work, in the runtimes that it keeps warm, unless --address
                            names a runtime (default: ${nodeLayout.socket})
`;

/** Where an agent listens. */
export function agentSocket({ socket = nodeLayout.socket }: { readonly socket?: string }): string {
  return resolve(socket);
}

type Values = { readonly runtime?: string; readonly address?: string; readonly namespace?: string };

const kinds = ["auto", "containerd", "docker"] as const;

/** Throws `UsageError`. */
export function runtimeRequest({ runtime = "auto", address, namespace }: Values): RuntimeRequest {
  const kind = kinds.find((each) => each === runtime);
  if (kind === undefined)
    throw new UsageError(`--runtime "${runtime}": give auto, containerd or docker${suggestion(runtime, kinds)}`);
  if (kind === "docker" && namespace !== undefined)
    throw new UsageError("--namespace is for containerd; Docker's images are in a namespace of its own");
  // The form of containerd's identifiers (pkg/identifiers/validate.go).
  if (namespace !== undefined && !/^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(namespace))
    throw new UsageError(`--namespace "${namespace}" cannot be a namespace of containerd`);
  return { runtime: kind, ...(address !== undefined && { address }), ...(namespace !== undefined && { namespace }) };
}
