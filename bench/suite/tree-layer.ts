import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { stream } from "./command.ts";
import type { Tar } from "./image-store.ts";
import { tarEnd, tarHeader, tarPadding } from "./tar-writer.ts";

/** A folder as a layer: names without `./`, sorted, PAX records only where ustar is too small. */
export function treeTar(directory: string): Tar {
  return packed(directory, async () => ["--sort=name", ...(await topNames(directory))]);
}

/**
 * The same files rebuilt another day: all times are `mtimeSeconds` and each folder's names come in reverse, so neither
 * the tar nor its compressed form equals that of `treeTar`, but every file does.
 */
export function retarredTree(directory: string, mtimeSeconds: number): Tar {
  return packed(
    directory,
    async () => [`--mtime=@${mtimeSeconds}`, "--no-recursion", "--null", "-T", "-"],
    async () => {
      const names: string[] = [];
      await walkReversed(directory, "", names);
      return names.map((name) => `${name}\0`).join("");
    },
  );
}

/** A layer of small files with their text, links, whiteouts and folders; names ending in `/` are folders. */
export async function* smallLayer(
  entries: Readonly<Record<string, string | { link: string }>>,
): AsyncGenerator<Buffer> {
  for (const [name, value] of Object.entries(entries)) {
    if (name.endsWith("/")) yield tarHeader({ name, type: "directory" });
    else if (typeof value === "object") yield tarHeader({ name, type: "symlink", linkName: value.link, mode: 0o777 });
    else {
      const body = Buffer.from(value);
      yield tarHeader({ name, type: "file", sizeBytes: body.length });
      yield Buffer.concat([body, Buffer.alloc(tarPadding(body.length))]);
    }
  }
  yield tarEnd;
}

async function* packed(
  directory: string,
  names: () => Promise<string[]>,
  input: () => Promise<string> = async () => "",
): AsyncGenerator<Buffer> {
  const format = ["--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner"];
  const args = [...format, "-C", directory, "-cf", "-", ...(await names())];
  yield* stream("tar", args, await input());
}

async function topNames(directory: string): Promise<string[]> {
  return (await readdir(directory)).sort();
}

async function walkReversed(root: string, folder: string, names: string[]): Promise<void> {
  const entries = await readdir(join(root, folder), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? 1 : -1))) {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    names.push(name);
    if (entry.isDirectory()) await walkReversed(root, name, names);
  }
}
