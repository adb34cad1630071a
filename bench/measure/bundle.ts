import { existsSync } from "node:fs";
import { copyFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../suite/command.ts";

const script = join(import.meta.dirname, "../../scripts/bundle.ts");

export type Bundle = {
  /** What a user executes. */
  readonly program: string;
  /** The Node that it runs. */
  readonly node: string;
};

/**
 * Makes the program as it is released, anew from the sources. Its Node is a file of its own, not a link to the one that runs the benchmark: what that
 * has mapped stays in the page cache, whatever is dropped. Throws where this Node does not come along in bundles.
 */
export async function makeBundle(folder: string): Promise<Bundle> {
  await run(process.execPath, [script, "--out", folder]);
  const node = join(folder, "node");
  if (!existsSync(node)) throw new Error(`${node} is missing: run the benchmark by npm, with the Node that it brings`);
  await copyFile(node, `${node}.own`);
  await rename(`${node}.own`, node);
  return { program: join(folder, "nodewarm"), node };
}
