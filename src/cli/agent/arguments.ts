import { resolve } from "node:path";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import type { RuntimeRequest } from "../../runtime/discovery.ts";
import { parseOptions } from "../options.ts";
import { agentSocket, runtimeOptions, runtimeRequest } from "../runtimes/choice.ts";
import { UsageError } from "../usage-error.ts";

export type AgentArguments = {
  /** Absolute paths. */
  readonly configuration: string;
  readonly diskFolders: readonly string[];
  readonly state: string;
  readonly socket: string;
  readonly listen: string | undefined;
  readonly once: boolean;
  readonly jsonLog: boolean;
  readonly request: RuntimeRequest;
};

const options = {
  ...runtimeOptions,
  config: { type: "string" },
  disks: { type: "string", multiple: true },
  state: { type: "string" },
  listen: { type: "string" },
  once: { type: "boolean" },
  "json-log": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** `undefined` when help is asked for. Throws `UsageError`. */
export function parseAgentArguments(args: readonly string[]): AgentArguments | undefined {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) return undefined;
  if (positionals.length > 0) throw new UsageError(`agent takes no "${positionals[0]}"; name files with --config`);
  if (values.config === undefined) throw new UsageError("agent needs --config: a folder or file with image sets");
  return {
    configuration: resolve(values.config),
    diskFolders: (values.disks ?? []).map((folder) => resolve(folder)),
    state: resolve(values.state ?? nodeLayout.state),
    socket: agentSocket(values),
    listen: values.listen,
    once: values.once ?? false,
    jsonLog: values["json-log"] ?? false,
    request: runtimeRequest(values),
  };
}
