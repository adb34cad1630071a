import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { configurationFiles, readConfiguration } from "../../agent/config/read-configuration.ts";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import type { NodeFile } from "../../publish/seed/units.ts";
import { UsageError } from "../usage-error.ts";

/**
 * The documents in files and folders, as they are to lie on the node; what the agent would refuse there is refused here. Throws `UsageError`,
 * `AgentError` `invalid-configuration`, and errors of the file system.
 */
export async function readConfigurationFiles(paths: readonly string[]): Promise<readonly NodeFile[]> {
  const files = new Map<string, NodeFile>();
  for (const path of paths) {
    await readConfiguration(path);
    const found = await configurationFiles(path);
    if (found.length === 0) throw new UsageError(`--config ${path}: there is no .yaml, .yml or .json file in it`);
    for (const file of found) {
      const place = `${nodeLayout.configuration}/${basename(file)}`;
      if (files.has(place)) throw new UsageError(`--config: two files are named ${basename(file)}; rename one`);
      files.set(place, { path: place, text: await readFile(file, "utf8") });
    }
  }
  return [...files.values()];
}
