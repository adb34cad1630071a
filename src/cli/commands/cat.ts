import { parseArgs } from "node:util";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { readFileData } from "../../filesystem/erofs/reader/file-data.ts";
import { type Inode, isDirectory, isRegular, isSymbolicLink } from "../../filesystem/erofs/reader/inode-parser.ts";
import { lookup } from "../../filesystem/erofs/reader/lookup.ts";
import type { CommandIo } from "../command.ts";
import { withImage } from "../disk/open-image.ts";
import { withOutput, writeOutput } from "../disk/write-output.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm cat DISK PATH...

Writes files of a disk, or of any uncompressed EROFS image, to standard output, byte for byte, without root and without
mounting it. Symbolic links are not followed.

  -h, --help     this text
`;

/** `nodewarm cat`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { help: { type: "boolean", short: "h" } },
  });
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  const [disk, ...paths] = positionals;
  if (disk === undefined || paths.length === 0) throw new UsageError("cat takes a disk and the path of a file on it");
  await withImage(disk, (image) =>
    withOutput(io.stdout, async () => {
      for (const path of paths) {
        if (!(await writeFile(image, await findFile(image, path), io))) return;
      }
    }),
  );
  return 0;
}

async function findFile(image: ErofsImage, path: string): Promise<Inode> {
  const inode = await lookup(image, path);
  if (isRegular(inode)) return inode;
  const what = isDirectory(inode)
    ? "is a directory"
    : isSymbolicLink(inode)
      ? `is a symbolic link to ${await image.linkTarget(inode)}, which is not followed`
      : "is a device or fifo";
  throw new ErofsError("not-a-file", `${image.source.name}: ${path} ${what}`);
}

/** False when nobody reads any more. */
async function writeFile(image: ErofsImage, inode: Inode, io: CommandIo): Promise<boolean> {
  for await (const piece of readFileData(image, inode)) {
    io.signal.throwIfAborted();
    if (!(await writeOutput(io.stdout, piece))) return false;
  }
  return true;
}
