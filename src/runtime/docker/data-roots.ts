import { readFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { object, optional, readShape, string } from "../../oci/json-shape.ts";
import { optionOf } from "../containerd/configuration.ts";
import { parseJson } from "./durable-file.ts";

const usualRoot = "/var/lib/docker";
const usualFile = "/etc/docker/daemon.json";

/** `graph` is what Docker before 17.05 called it. */
const daemonFile = object({ "data-root": optional(string), graph: optional(string) });

/**
 * Where Docker may keep its files: the usual place, and those that its command lines (`--data-root`) and configuration files
 * (`--config-file`, else `/etc/docker/daemon.json`) name. What cannot be read names none.
 */
export async function dockerDataRoots(commands: readonly (readonly string[])[], file = usualFile): Promise<string[]> {
  const files = [file, ...commands.flatMap((command) => optionOf(command, ["config-file"]) ?? [])];
  const roots = commands.map((command) => optionOf(command, ["data-root", "g", "graph"]));
  for (const path of files) {
    const { value } = readShape(daemonFile, parseJson(await readFile(path, "utf8").catch(() => "{}")));
    roots.push(value?.["data-root"], value?.graph);
  }
  return [...new Set([usualRoot, ...roots.filter((root): root is string => root !== undefined && isAbsolute(root))])];
}
