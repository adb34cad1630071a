import type { DiskStatus, Runtime } from "../../runtime/runtime.ts";
import { CliError } from "../cli-error.ts";
import type { CommandIo } from "../command.ts";
import { formatCount, shortDigest, shortImage } from "../format.ts";
import { describeUsers } from "../inject/eject-progress.ts";
import { describeConditions } from "../inject/inject-report.ts";
import { parseOptions } from "../options.ts";
import { requireRoot } from "../require-root.ts";
import { agentHelp, agentSocket, runtimeHelp, runtimeOptions, runtimeRequest } from "../runtimes/choice.ts";
import { agentAt, inEach, openRuntimes, outcomeJson, throwFailures } from "../runtimes/open-runtimes.ts";
import { renderTable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm status [OPTION...]

Shows which disks are injected into which runtime, whether they are mounted, their images, who uses them, and what is wrong; where an agent
runs, also what it keeps warm and what it is doing. Needs root, and changes nothing.

CHAIN is complete when the layers below an image are there too, so that pulls of other images find them; pending until
"nodewarm inject" has run to its end.

${runtimeHelp}${agentHelp}
      --watch               show what the agent does until Ctrl-C; with --json one object a line
      --json                one JSON object on standard output
  -h, --help                this text

Exit codes: 0 whatever is shown, 1 the runtime cannot be asked, 2 wrong usage.
`;

const options = {
  ...runtimeOptions,
  watch: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** `nodewarm status`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError("status takes no arguments");
  const choice = { request: runtimeRequest(values), socket: agentSocket(values), signal: io.signal };
  if (values.watch && choice.request.address !== undefined)
    throw new UsageError("--watch shows an agent: leave out --address");
  requireRoot("status", "asks the container runtime and looks into its files");
  const agent = choice.request.address === undefined ? await agentAt(choice.socket, io.signal) : undefined;
  if (values.watch) {
    if (agent === undefined)
      throw new CliError("not-found", `no agent listens at ${choice.socket}; start it, or leave out --watch`);
    const { watchAgent } = await import("../agent/watch-agent.ts");
    return watchAgent(agent, io, { isJson: values.json ?? false });
  }
  const told = await agent?.status({ signal: io.signal });
  await using open = await openRuntimes(choice);
  const ask = async (runtime: Runtime) => ({ disks: await runtime.status({ signal: io.signal }) });
  // What an agent says is worth the more when the runtime does not answer.
  const outcomes = await inEach(open, io.signal, ask, { throwsAlone: told === undefined });
  if (values.json) {
    const document = { ...(told && { agent: told }), runtimes: outcomes.map(outcomeJson) };
    io.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  } else {
    const texts = outcomes.flatMap((each) => ("error" in each ? [] : [describe(each.runtime, each.result.disks)]));
    if (told !== undefined) {
      const { describeAgent } = await import("../agent/describe-agent.ts");
      texts.unshift(...told.runtimes.map(describeAgent));
    }
    io.stdout.write(texts.join("\n"));
  }
  throwFailures(outcomes);
  return 0;
}

function describe(runtime: string, disks: readonly DiskStatus[]): string {
  if (disks.length === 0) return `${runtime}: no disk is injected\n`;
  return `${runtime}\n${disks.map(describeDisk).join("")}`;
}

function describeDisk({ id, line, sequence, source, isMounted, images, heldBy, conditions }: DiskStatus): string {
  const complete = images.filter(({ chain }) => chain === "complete").length;
  const facts = [
    ["disk", id],
    ["line", line === "" ? "unknown" : `${line}, sequence ${sequence}`],
    ["source", source || "unknown"],
    ["mounted", isMounted ? "yes" : "no"],
    ["images", `${formatCount(images.length)}, chains of ${formatCount(complete)} complete`],
    ["held by", heldBy.length === 0 ? "nobody" : describeUsers(heldBy)],
  ];
  const rows = images.flatMap(({ names, digest, chain, conditions: of }) =>
    shownNames(names).map((name) => [
      shortImage(name),
      shortDigest(digest),
      chain,
      of.length === 0 ? "ok" : of.map(({ type }) => type).join(", "),
    ]),
  );
  const table = rows.length === 0 ? "" : renderTable([["IMAGE", "DIGEST", "CHAIN", "STATE"], ...rows]);
  const notes = [...conditions, ...images.flatMap((image) => image.conditions)];
  return `${renderTable(facts)}${table}${describeConditions(notes)}`;
}

/** Tags; the digest has a column of its own. */
function shownNames(names: readonly string[]): readonly string[] {
  const tags = names.filter((name) => !name.includes("@"));
  return tags.length > 0 ? tags : names;
}
