import { parseArgs } from "node:util";
import type { DirectoryEntry } from "../../filesystem/erofs/reader/directory-block.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { type Inode, isDirectory } from "../../filesystem/erofs/reader/inode-parser.ts";
import { lookup } from "../../filesystem/erofs/reader/lookup.ts";
import type { CommandIo } from "../command.ts";
import { type LongRow, linkSuffix, longRow, rightColumns, showName } from "../disk/listing.ts";
import { withImage } from "../disk/open-image.ts";
import { withOutput, writeOutput } from "../disk/write-output.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm ls DISK [PATH] [-l] [-a]

Lists the files of a disk, or of any uncompressed EROFS image, without root and without mounting it.

  PATH           a folder or file of the disk (default: /). Symbolic links are not followed
  -l, --long     mode, links, owner, size and time as "ls -ln" shows them, times in UTC
  -a, --all      also . and .. and what begins with a dot
  -h, --help     this text
`;

/** `nodewarm ls`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      long: { type: "boolean", short: "l" },
      all: { type: "boolean", short: "a" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  const [disk, path = "/", ...more] = positionals;
  if (disk === undefined || more.length > 0) throw new UsageError("ls takes a disk and at most one path");
  await withImage(disk, (image) =>
    withOutput(io.stdout, async () => {
      const inode = await lookup(image, path);
      const listing: Listing = {
        image,
        io,
        long: values.long ?? false,
        all: values.all ?? false,
      };
      if (isDirectory(inode)) await listDirectory(listing, inode);
      else await writeEntries(listing, [{ name: Buffer.from(path), inode }]);
    }),
  );
  return 0;
}

type Listing = {
  readonly image: ErofsImage;
  readonly io: CommandIo;
  readonly long: boolean;
  readonly all: boolean;
};

type Listed = { readonly name: Buffer; readonly inode: Inode | undefined };

/** A long listing needs all rows for its widths; names alone are written as they come. */
async function listDirectory(listing: Listing, directory: Inode): Promise<void> {
  const { image, io, long, all } = listing;
  const rows: Listed[] = [];
  const isShown = ({ name }: DirectoryEntry) => all || name[0] !== 0x2e;
  for await (const { entries } of image.directoryBlocks(directory)) {
    io.signal.throwIfAborted();
    const shown = entries.filter(isShown);
    if (!long) {
      if (
        !(await writeEntries(
          listing,
          shown.map(({ name }) => ({ name, inode: undefined })),
        ))
      )
        return;
      continue;
    }
    for (const { name, nid } of shown) rows.push({ name: Buffer.from(name), inode: await image.inode(nid) });
  }
  await writeEntries(listing, rows);
}

const pieceRows = 512;

async function writeEntries({ image, io, long }: Listing, listed: readonly Listed[]): Promise<boolean> {
  const isTerminal = io.stdout.isTTY ?? false;
  const columns = listed.map(({ inode }) => (long && inode !== undefined ? longRow(inode) : undefined));
  const widths = rightColumns.map((column) =>
    columns.reduce((width, row) => Math.max(width, row?.[column].length ?? 0), 0),
  );
  let lines: Buffer[] = [];
  for (const [i, { name, inode }] of listed.entries()) {
    const row = columns[i];
    if (row !== undefined) lines.push(Buffer.from(`${formatRow(row, widths)} `));
    lines.push(showName(name, isTerminal));
    if (row !== undefined && inode !== undefined) lines.push(showName(await linkSuffix(image, inode), isTerminal));
    lines.push(Buffer.from("\n"));
    if (i % pieceRows !== pieceRows - 1) continue;
    if (!(await writeOutput(io.stdout, Buffer.concat(lines)))) return false;
    lines = [];
  }
  return writeOutput(io.stdout, Buffer.concat(lines));
}

function formatRow(row: LongRow, widths: readonly number[]): string {
  return row
    .map((cell, column) => {
      const right = rightColumns.indexOf(column);
      return right === -1 ? cell : cell.padStart(widths[right]);
    })
    .join(" ");
}
