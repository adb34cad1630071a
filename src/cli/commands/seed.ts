import { basename, dirname } from "node:path";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { type SeedEvent, type SeedReport, seedRoot } from "../../publish/seed/seed-root.ts";
import type { CommandIo } from "../command.ts";
import { formatBytes, formatCount, shortDigest } from "../format.ts";
import { parseOptions } from "../options.ts";
import { TerminalArea } from "../progress/terminal.ts";
import { requireRoot } from "../require-root.ts";
import { readConfigurationFiles } from "../seed/configuration-files.ts";
import { recordSeeded } from "../seed/record-seeded.ts";
import { renderTable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm seed ROOTFS [DISK...] [OPTION...]

Puts disks, the program, its configuration and its units into the root file system of a node, so that a machine that boots from it has the
images before it takes workloads. ROOTFS is a folder (a mounted image, mkosi's or kiwi's tree), or / for the machine itself, as in
Packer. DISK is a file or a block device; each is read in full and checked first. Nothing of ROOTFS is run. Needs root.

      --config FILE|DIR     image sets and the agent's configuration, put into ${nodeLayout.configuration}; may be repeated
      --program DIR         folder of the program to install (default: the one that runs)
      --json                one JSON object on standard output
  -h, --help                this text

What is put there: ${nodeLayout.disks}/*.erofs, ${nodeLayout.program}, ${nodeLayout.command}, nodewarm.service (enabled, before
kubelet), and for each container runtime's unit a drop-in that mounts the disks before it starts.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted: run it again.
`;

const options = {
  config: { type: "string", multiple: true },
  program: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

const redrawMs = 100;

/** `nodewarm seed`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseOptions(args, options);
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  const [root, ...disks] = positionals;
  if (root === undefined) throw new UsageError("seed takes the root file system of a node, and disks");
  const configuration = await readConfigurationFiles(values.config ?? []);
  requireRoot("seed", "writes files that only root may own");
  const progress = createProgress(io);
  try {
    const report = await seedRoot({
      root,
      disks,
      program: values.program ?? runningProgram(),
      configuration,
      signal: io.signal,
      onEvent: progress.event,
    });
    await recordSeeded(report, io.signal);
    progress.close();
    io.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : describe(report));
    return 0;
  } finally {
    progress.close();
  }
}

/** Folder of the bundle, when that is what runs; a checkout is no bundle, and is refused with the way out. */
function runningProgram(): string {
  const [, script = ""] = process.argv;
  return basename(script) === "nodewarm.mjs" ? dirname(script) : import.meta.dirname;
}

function createProgress(io: CommandIo): { event(event: SeedEvent): void; close(): void } {
  const area = io.stderr.isTTY ? new TerminalArea(io.stderr) : undefined;
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    event(event) {
      if (event.type === "verifying") {
        if (area === undefined || performance.now() - drawnMs < redrawMs) return;
        drawnMs = performance.now();
        const { disk, doneBytes, totalBytes } = event;
        area.draw([`checking ${disk}: ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`]);
      } else if (event.type === "copying") {
        area?.close();
        io.stderr.write(`copying ${event.disk} (${formatBytes(event.sizeBytes)})\n`);
      }
    },
    close: () => area?.close(),
  };
}

function describe({ root, disks, runtimes, files }: SeedReport): string {
  const rows = disks.map(({ path, id, line, sequence, sizeBytes, images }) => [
    path,
    shortDigest(`sha256:${id}`),
    `${line}, ${sequence}`,
    formatBytes(sizeBytes),
    String(images),
  ]);
  const table = rows.length === 0 ? "" : renderTable([["DISK", "ID", "LINE", "SIZE", "IMAGES"], ...rows]);
  const units =
    runtimes.length === 0
      ? `No unit of a container runtime is there yet: install the runtime first and seed again, or call "nodewarm mount --all" before it starts.\n`
      : `Mounted before ${runtimes.join(", ")}.\n`;
  return `${table}${root}: ${formatCount(files.length, "file")} installed. ${units}`;
}
