import { parseArgs } from "node:util";
import { type VerifyProgress, type VerifyResult, verifyDisk } from "../../disk/verify/verify-disk.ts";
import { openFileSource } from "../../filesystem/byte-source.ts";
import type { CommandIo } from "../command.ts";
import { formatBytes, formatCount, formatSeconds } from "../format.ts";
import { TerminalArea } from "../progress/terminal.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm verify DISK [--json]

Finds everything that can be wrong with a disk, without root and without mounting it: every byte against the digests that
the disk's id covers, the file system, the documents of its images, and that merged trees and layer images are those of
the layers. What lies behind the disk's end in the file or on the device is ignored.

  --json         one JSON object on standard output
  -h, --help     this text

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage.
`;

const redrawMs = 100;

/** `nodewarm verify`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  const [path, ...more] = positionals;
  if (path === undefined || more.length > 0) throw new UsageError("verify takes one disk");
  const startedMs = performance.now();
  const result = await verify(path, io);
  const seconds = (performance.now() - startedMs) / 1000;
  const isSound = result.problems.length === 0;
  io.stdout.write(
    values.json
      ? `${JSON.stringify({ path, ok: isSound, ...result.checked, problems: result.problems, omitted: result.omitted }, undefined, 2)}\n`
      : report(path, result, seconds),
  );
  return isSound ? 0 : 1;
}

async function verify(path: string, io: CommandIo): Promise<VerifyResult> {
  const source = await openFileSource(path);
  const area = io.stderr.isTTY ? new TerminalArea(io.stderr) : undefined;
  let drawnMs = Number.NEGATIVE_INFINITY;
  const onProgress = (progress: VerifyProgress) => {
    if (area === undefined || performance.now() - drawnMs < redrawMs) return;
    drawnMs = performance.now();
    area.draw([progressLine(progress)]);
  };
  try {
    return await verifyDisk(source, { onProgress, signal: io.signal });
  } finally {
    area?.close();
    await source.close();
  }
}

function progressLine({ phase, done, total }: VerifyProgress): string {
  const percent = `${Math.floor((done / Math.max(1, total)) * 100)}%`.padStart(4);
  if (phase === "data") return `verify ${percent}  ${formatBytes(done)} of ${formatBytes(total)}`;
  return `verify ${percent}  ${phase}: ${formatCount(done)} of ${formatCount(total)}`;
}

function report(path: string, { problems, omitted, checked }: VerifyResult, seconds: number): string {
  const lines = problems.map(({ place, message }) => `${place}: ${message}`);
  if (omitted > 0) lines.push(`and ${formatCount(omitted, "more problem")}`);
  if (lines.length > 0) {
    lines.push(`${path}: ${formatCount(problems.length + omitted, "problem")} found`);
  } else if (checked !== undefined) {
    const { id, sizeBytes, contents, inodes, layerTrees, mergedTrees, layerImages } = checked;
    const trees = [formatCount(layerTrees, "layer tree"), formatCount(mergedTrees, "merged tree")];
    if (layerImages > 0) trees.push(formatCount(layerImages, "layer image"));
    lines.push(
      `${path}: nothing is wrong`,
      `id       ${id}`,
      `checked  ${formatBytes(sizeBytes)}, ${formatCount(contents, "content")}, ${formatCount(inodes, "inode")}, ${trees.join(", ")}`,
      `took     ${formatSeconds(seconds)}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
