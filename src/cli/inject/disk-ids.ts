import { stat } from "node:fs/promises";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { CliError } from "../cli-error.ts";

/**
 * Ids of injected disks that the user means: by path of a disk, by id, or by the first 8 digits of one and more. What is a path and an id is
 * taken for the path. Throws `CliError` `not-found`, and as `readDiskSource`.
 */
export async function findDiskIDs(words: readonly string[], injected: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const word of words) {
    const id = (await isFile(word)) ? await idOfPath(word, injected) : idOfPrefix(word, injected);
    if (!ids.includes(id)) ids.push(id);
  }
  return ids;
}

async function idOfPath(path: string, injected: readonly string[]): Promise<string> {
  const { id } = await readDiskSource(path);
  if (injected.includes(id)) return id;
  throw new CliError("not-found", `${path} (${id}) is not injected; ${whatIs(injected)}`);
}

function idOfPrefix(word: string, injected: readonly string[]): string {
  if (!/^[0-9a-f]{8,64}$/.test(word))
    throw new CliError("not-found", `${word} is neither a disk nor an id (8 to 64 hex digits); ${whatIs(injected)}`);
  const [id, ...others] = injected.filter((each) => each.startsWith(word));
  if (id === undefined) throw new CliError("not-found", `no disk ${word} is injected; ${whatIs(injected)}`);
  if (others.length > 0)
    throw new CliError("not-found", `${word} is the beginning of several ids; ${whatIs(injected)}`);
  return id;
}

function whatIs(injected: readonly string[]): string {
  if (injected.length === 0) return "nothing is";
  return `injected: ${injected.map((id) => id.slice(0, 12)).join(", ")} (nodewarm status tells more)`;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
