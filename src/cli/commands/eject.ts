import type { EjectReport, Runtime } from "../../runtime/runtime.ts";
import type { CommandIo } from "../command.ts";
import { formatCount } from "../format.ts";
import { type EjectArguments, parseEjectArguments } from "../inject/arguments.ts";
import { findDiskIDs } from "../inject/disk-ids.ts";
import { createEjectProgress, describeUsers } from "../inject/eject-progress.ts";
import { requireRoot } from "../require-root.ts";
import { agentHelp, runtimeHelp } from "../runtimes/choice.ts";
import { inEach, type OpenRuntimes, openRuntimes, outcomeJson, throwFailures } from "../runtimes/open-runtimes.ts";

const help = `Usage: nodewarm eject DISK|ID... [OPTION...]
       nodewarm eject --all [OPTION...]

Undoes "nodewarm inject": image records, snapshots, links and the mount. An agent that runs does not inject the disk again until
somebody does so by hand. DISK is a file or a block device, ID the id of a disk or how it
begins (8 digits and more). Needs root. What the runtime had before stays. Images in use are named and nothing is removed, unless:

      --wait                waits until nothing uses them
      --materialize         copies what is in use to the node, with containers running, so that it needs the disk no more

${runtimeHelp}${agentHelp}
      --json                one JSON object on standard output
  -h, --help                this text

A disk is released when no mount on the machine holds its device: it may be detached then. Until then, who holds it is named.

Exit codes: 0 done, 1 failed or in use, 2 wrong usage, 130 interrupted: the next run completes what was begun.
`;

/** `nodewarm eject`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const given = parseEjectArguments(args);
  if (given === undefined) {
    io.stdout.write(help);
    return 0;
  }
  requireRoot("eject", "unmounts disks and changes the runtime's files");
  await using open = await openRuntimes({ ...given, signal: io.signal });
  const wanted = await wantedDisks(open, given, io.signal);
  const outcomes = await inEach(open, io.signal, async (runtime): Promise<EjectReport> => {
    const disks = wanted.get(runtime) ?? [];
    if (disks.length === 0) return { disks: [] };
    const { wait, materialize } = given;
    const onEvent = createEjectProgress(io.stderr);
    return runtime.eject({ disks, wait, materialize, signal: io.signal, onEvent });
  });
  if (given.json) {
    io.stdout.write(`${JSON.stringify({ runtimes: outcomes.map(outcomeJson) }, undefined, 2)}\n`);
  } else {
    const texts = outcomes.flatMap((each) => ("error" in each ? [] : [describe(each.runtime, each.result)]));
    io.stdout.write(texts.join(""));
  }
  throwFailures(outcomes);
  return 0;
}

/** Ids of the disks to eject from each runtime: a disk may be in several. */
async function wantedDisks(
  { runtimes }: OpenRuntimes,
  { disks }: EjectArguments,
  signal: AbortSignal,
): Promise<Map<Runtime, string[]>> {
  const injected = new Map<Runtime, string[]>();
  for (const runtime of runtimes)
    injected.set(
      runtime,
      (await runtime.status({ signal })).map(({ id }) => id),
    );
  if (disks === "all") return injected;
  const wanted = await findDiskIDs(disks, [...new Set([...injected.values()].flat())]);
  for (const [runtime, ids] of injected)
    injected.set(
      runtime,
      ids.filter((id) => wanted.includes(id)),
    );
  return injected;
}

function describe(runtime: string, { disks }: EjectReport): string {
  if (disks.length === 0) return `${runtime}: nothing to eject\n`;
  const lines = disks.map(({ id, isReleased, heldBy, removedImages, materialized }) => {
    const done = [formatCount(removedImages, "image"), ...(materialized > 0 ? [`${materialized} copied`] : [])].join(
      ", ",
    );
    const end = isReleased ? "released" : `not released yet: held by ${describeUsers(heldBy) || "someone unseen"}`;
    return `${id.slice(0, 12)}: ${done}; ${end}\n`;
  });
  return `${runtime}\n${lines.join("")}`;
}
