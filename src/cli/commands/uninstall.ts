import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { RootFolder } from "../../publish/seed/root-folder.ts";
import { type RemovedFiles, uninstallFiles } from "../../publish/seed/uninstall-files.ts";
import { type LeaveReport, leaveRuntime } from "../../runtime/leave-runtime.ts";
import { findAllRuntimes } from "../agent/find-runtimes.ts";
import { CliError } from "../cli-error.ts";
import type { CommandIo } from "../command.ts";
import { formatCount } from "../format.ts";
import { createEjectProgress, describeUsers } from "../inject/eject-progress.ts";
import { parseOptions } from "../options.ts";
import { requireRoot } from "../require-root.ts";
import { agentAt } from "../runtimes/open-runtimes.ts";
import { injectedWithoutRuntime } from "../uninstall/injected-disks.ts";
import { reloadUnits, stopAgentUnit } from "../uninstall/service-manager.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm uninstall [OPTION...]

Leaves a node that works without Nodewarm: stops the agent, ejects every disk (images in use are copied to the node, with containers
running), gives images that it fetched to the node, and removes units, program, state and disks. The configuration in
${nodeLayout.configuration} stays. Needs root. Interrupted, it goes on where it was when it is run again.

      --json                one JSON object on standard output
  -h, --help                this text

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

const options = { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;

/** `nodewarm uninstall`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError("uninstall takes no arguments");
  requireRoot("uninstall", "ejects disks and removes files of root");
  await stopAgentUnit();
  if ((await agentAt(nodeLayout.socket, io.signal)) !== undefined)
    throw new CliError(
      "agent-runs",
      `an agent listens at ${nodeLayout.socket}; stop it first, and whatever starts it again`,
    );
  const runtimes: LeaveReport[] = [];
  for (const found of await findAllRuntimes()) {
    runtimes.push(await leaveRuntime(found, { signal: io.signal, onEvent: createEjectProgress(io.stderr) }));
  }
  const left = await injectedWithoutRuntime();
  if (left.length > 0)
    throw new CliError(
      "disks-left",
      `disks are injected into runtimes that do not run now (${left.join(", ")}); start them and run this again`,
    );
  const files = await uninstallFiles(await RootFolder.open("/"));
  await reloadUnits();
  io.stdout.write(
    values.json ? `${JSON.stringify({ runtimes, ...files }, undefined, 2)}\n` : describe(runtimes, files),
  );
  return 0;
}

function describe(runtimes: readonly LeaveReport[], { removed, mounted }: RemovedFiles): string {
  const lines = runtimes.flatMap(({ runtime, disks, releasedNames }) => [
    `${runtime}: ${formatCount(disks.length, "disk")} ejected, ${formatCount(releasedNames.length, "name")} released`,
    ...disks
      .filter(({ isReleased }) => !isReleased)
      .map(
        ({ id, heldBy }) =>
          `${id.slice(0, 12)}: not released yet: held by ${describeUsers(heldBy) || "someone unseen"}`,
      ),
  ]);
  lines.push(...removed.map((path) => `removed ${path}`));
  lines.push(...mounted.map((path) => `left ${path}: something is mounted in it`));
  if (removed.length === 0) lines.push("no files were installed");
  return `${lines.join("\n")}\n`;
}
