import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { PublishError } from "../publish-error.ts";
import { nodeLayout } from "./node-layout.ts";
import type { RootFolder } from "./root-folder.ts";

/** The one file that stands for the bundle. */
const launcher = "nodewarm";
const executables = new Set([launcher, "node"]);

/**
 * Copies the bundle into the node, with what is kept compiled, and puts the command on the PATH. What it returns are the paths on the node. Throws
 * `PublishError` `no-program` when `folder` holds no bundle.
 */
export async function installProgram(
  root: RootFolder,
  folder: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const paths = files.map((file) => file.slice(folder.length + 1)).sort();
  if (!["nodewarm", "nodewarm.mjs", "node"].every((needed) => paths.includes(needed)))
    throw new PublishError(
      "no-program",
      `${folder} holds no program that can be installed (nodewarm, nodewarm.mjs and node); make it with "npm run bundle", and run dist/nodewarm or say --program dist`,
    );
  const installed: string[] = [];
  // The launcher last: whoever finds it finds all else.
  for (const path of [...paths.filter((each) => each !== launcher), launcher]) {
    signal.throwIfAborted();
    const place = `${nodeLayout.program}/${path}`;
    await root.copyFile(join(folder, path), place, executables.has(path) ? 0o755 : 0o644);
    installed.push(place);
  }
  await root.link(nodeLayout.command, `${nodeLayout.program}/${launcher}`);
  return [...installed, nodeLayout.command];
}
