import { verifyDisk } from "../../disk/verify/verify-disk.ts";
import type { OpenDisk } from "../../runtime/runtime.ts";
import { CliError } from "../cli-error.ts";
import type { CommandIo } from "../command.ts";
import { formatCount, formatSeconds } from "../format.ts";

/** Reads the whole disk. Throws `CliError` `unsound-disk` with the first things that are wrong. */
export async function verifyFully({ disk, source }: OpenDisk, io: CommandIo): Promise<void> {
  const startedMs = performance.now();
  io.stderr.write(`verifying ${source.path}\n`);
  const { problems, omitted } = await verifyDisk(disk.source, { signal: io.signal });
  if (problems.length > 0) {
    const shown = problems.slice(0, 5).map(({ place, message }) => `\n  ${place}: ${message}`);
    const count = formatCount(problems.length + omitted, "problem");
    throw new CliError(
      "unsound-disk",
      `${source.path} is not injected, ${count} found:${shown.join("")}\nBuild the disk again; "nodewarm verify ${source.path}" shows all`,
    );
  }
  io.stderr.write(`${source.path}: nothing is wrong (${formatSeconds((performance.now() - startedMs) / 1000)})\n`);
}
