import { parseArgs } from "node:util";
import { DiskReader } from "../../disk/reader/disk-reader.ts";
import { summarizeDisk } from "../../disk/reader/disk-summary.ts";
import type { CommandIo } from "../command.ts";
import { describeDisk, describeDiskJson } from "../disk/describe-disk.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm inspect DISK [--json]

Shows what is on a disk: its images and layers, their sizes, what storing equal files once saved, and the oldest kernel
that mounts it. Nothing is verified but the disk's id; see "nodewarm verify".

  --json         one JSON object on standard output
  -h, --help     this text
`;

/** `nodewarm inspect`. */
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
  if (path === undefined || more.length > 0) throw new UsageError("inspect takes one disk");
  const disk = await DiskReader.openPath(path);
  try {
    const summary = await summarizeDisk(disk, io.signal);
    io.stdout.write(
      values.json
        ? `${JSON.stringify(describeDiskJson(path, disk.index, summary), undefined, 2)}\n`
        : describeDisk(path, disk.index, summary),
    );
    return 0;
  } finally {
    await disk.close();
  }
}
