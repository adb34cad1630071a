import type { Finding } from "../../runtime/doctor/finding.ts";
import type { DoctorReport } from "../../runtime/doctor/run-doctor.ts";
import type { CommandIo } from "../command.ts";
import { formatCount } from "../format.ts";
import { parseOptions } from "../options.ts";
import { requireRoot } from "../require-root.ts";
import { runtimeHelp, runtimeOptions, runtimeRequest } from "../runtimes/choice.ts";
import { renderTable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm doctor [OPTION...]

Finds out whether disks can be injected on this node: kernel, file systems, SELinux, mount namespaces, version and snapshotters of the
runtime, user namespaces, the pause image. Each thing that is not as it should be comes with the way out. Needs root, and changes nothing.

${runtimeHelp}
      --json                one JSON object on standard output
  -h, --help                this text

Exit codes: 0 nothing keeps disks from being injected, 1 something does, 2 wrong usage.
`;

const options = { ...runtimeOptions, json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;

/** `nodewarm doctor`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError("doctor takes no arguments");
  const request = runtimeRequest(values);
  requireRoot("doctor", "asks the container runtime and tries mounts");
  const { runDoctor } = await import("../../runtime/doctor/run-doctor.ts");
  const report = await runDoctor(request);
  const findings = [report.machine, ...report.runtimes.map((each) => each.findings)].flat();
  const failures = findings.filter(({ result }) => result === "failure").length;
  const isFit = failures === 0;
  io.stdout.write(
    values.json ? `${JSON.stringify({ ok: isFit, ...report }, undefined, 2)}\n` : describe(report, findings),
  );
  return isFit ? 0 : 1;
}

function describe({ machine, runtimes }: DoctorReport, findings: readonly Finding[]): string {
  const parts = [["this machine", machine] as const, ...runtimes.map((each) => [each.name, each.findings] as const)];
  const texts = parts.map(([title, list]) => `${title}\n${list.map(describeFinding(widthOf(findings))).join("")}`);
  const count = (result: Finding["result"]) => findings.filter((each) => each.result === result).length;
  const [failures, warnings] = [count("failure"), count("warning")];
  const end =
    failures > 0
      ? `This node cannot be injected: ${formatCount(failures, "failure")}, ${formatCount(warnings, "warning")}.`
      : `This node can be injected: ${formatCount(warnings, "warning")}.`;
  return `${texts.join("\n")}\n${end}\n`;
}

function widthOf(findings: readonly Finding[]): number {
  return Math.max(...findings.map(({ name }) => name.length));
}

/** The way out stands below, and as it is: it may have lines of a configuration file. */
function describeFinding(width: number): (finding: Finding) => string {
  return ({ name, result, message, wayOut }) => {
    const line = renderTable([[`  ${result.padEnd("failure".length)}`, name.padEnd(width), message]]);
    const out = wayOut === undefined ? "" : `${wayOut.replace(/^/gm, "           ")}\n`;
    return `${line}${out}`;
  };
}
