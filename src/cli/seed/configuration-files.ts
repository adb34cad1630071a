import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import type { NodeFile } from "../../publish/seed/units.ts";
import { UsageError } from "../usage-error.ts";

/** The documents in files and folders, as they are to lie on the node. Throws `UsageError`, and errors of the file system. */
export async function readConfigurationFiles(paths: readonly string[]): Promise<readonly NodeFile[]> {
  const files = new Map<string, NodeFile>();
  for (const path of await documentsIn(paths)) {
    const place = `${nodeLayout.configuration}/${basename(path)}`;
    if (files.has(place)) throw new UsageError(`--config: two files are named ${basename(path)}; rename one`);
    files.set(place, { path: place, text: await readFile(path, "utf8") });
  }
  return [...files.values()];
}

async function documentsIn(paths: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (!(await stat(path)).isDirectory()) {
      found.push(path);
      continue;
    }
    const names = (await readdir(path)).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name)).sort();
    if (names.length === 0) throw new UsageError(`--config ${path}: there is no .yaml, .yml or .json file in it`);
    found.push(...names.map((name) => join(path, name)));
  }
  return found;
}
