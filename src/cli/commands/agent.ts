import type { AgentStatus } from "../../agent/status.ts";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { parseAgentArguments } from "../agent/arguments.ts";
import { describeAgent } from "../agent/describe-agent.ts";
import { logWriter } from "../agent/log-writer.ts";
import type { CommandIo } from "../command.ts";
import { requireRoot } from "../require-root.ts";
import { runtimeHelp } from "../runtimes/choice.ts";

const help = `Usage: nodewarm agent --config DIR|FILE [OPTION...]

Keeps a declared list of images usable in the container runtime of this node: from disks that it finds and trusts, else by fetching; again
when one is deleted or collected, again when its tag moves. Needs root. Runs until it is told to stop; a service manager is told when all
gated images are warm (Type=notify).

      --config DIR|FILE     image sets, and at most one AgentConfig; watched
      --disks DIR           folder with disks, besides those of the AgentConfig; may be repeated
      --state DIR           what must not be forgotten (default: ${nodeLayout.state})
      --socket FILE         where "nodewarm status", "inject" and "eject" reach it (default: ${nodeLayout.socket})
      --listen HOST:PORT    serve /healthz, /readyz and /metrics (default: the AgentConfig's, else nowhere)
      --once                make everything warm, print what there is, and end
      --json-log            log lines as JSON

${runtimeHelp}
  -h, --help                this text

Exit codes: 0 stopped, with --once all warm; 1 failed, with --once not all warm; 2 wrong usage.
`;

/** `nodewarm agent`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const given = parseAgentArguments(args);
  if (given === undefined) {
    io.stdout.write(help);
    return 0;
  }
  requireRoot("agent", "mounts disks and changes the runtime's files");
  const { runNode } = await import("../agent/run-node.ts");
  const log = logWriter(io.stderr, given.jsonLog);
  try {
    const statuses = await runNode({ given, environment: { ...io.env }, log, signal: io.signal });
    if (!given.once) return 0;
    io.stdout.write(statuses.map(describeAgent).join("\n"));
    return statuses.every(isWarm) ? 0 : 1;
  } catch (error) {
    // Being told to stop is how an agent ends.
    if (io.signal.aborted && error === io.signal.reason && !given.once) return 0;
    throw error;
  }
}

/** Without these nothing is known of the images; others, such as a state that nothing was worth writing to, leave them warm. */
const troubles: ReadonlySet<string> = new Set([
  "ConfigurationInvalid",
  "RuntimeUnavailable",
  "LoopStuck",
  "LoopFailed",
]);

function isWarm({ images, conditions }: AgentStatus): boolean {
  return !conditions.some(({ type }) => troubles.has(type)) && images.every(({ phase }) => phase === "Warm");
}
