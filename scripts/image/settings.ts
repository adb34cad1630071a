import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { root } from "../bundle/compile.ts";

/** How Node is to run the program. */
export type NodeSettings = {
  /** `NAME=value`, by name. */
  readonly environment: readonly string[];
  readonly options: readonly string[];
};

/** What `bin/settings.sh` says for a program in `folder` whose compiled code is kept in `compileCache`. */
export function nodeSettings(folder: string, compileCache: string): NodeSettings {
  const script = `. "$0"; printf '%s\\0' "$node_options"; unset node_options; exec env -0`;
  const given = { PATH: "/usr/bin:/bin", root: folder, NODE_COMPILE_CACHE: compileCache };
  const text = execFileSync("sh", ["-euc", script, join(root, "bin/settings.sh")], { env: given, encoding: "utf8" });
  const [options = "", ...variables] = text.split("\0").slice(0, -1);
  // The shell adds those of its own.
  const environment = variables.filter((each) => !/^(PATH|root|PWD|OLDPWD|SHLVL|_)=/.test(each)).sort();
  return { environment, options: options.split(/\s+/).filter((each) => each !== "") };
}
