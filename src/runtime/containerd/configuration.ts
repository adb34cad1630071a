import { glob, readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize } from "node:path";
import { parse } from "smol-toml";
import { causeText } from "../../oci/oci-error.ts";
import type { ContainerdNode } from "./containerd-node.ts";

type Table = Readonly<Record<string, unknown>>;

/** The configuration files of a containerd. What they say now need not be what it read when it was started. */
export type Configuration = {
  /** The main file as containerd sees it. */
  readonly path: string;
  /** Why a file could not be read; the others count. */
  readonly problems: readonly string[];
  /** The value at a path of keys: of the last file that has one, as files imported override the main one. */
  value(...keys: readonly string[]): unknown;
  /** Those of all files that have one, the one that counts last. */
  values(...keys: readonly string[]): readonly unknown[];
};

const usualPath = "/etc/containerd/config.toml";
/** containerd 2.2 and later write it into the configuration that they print, and take it where there is no file. */
const usualImports = "/etc/containerd/conf.d/*.toml";

/** More files than anybody has: imports may be a pattern that fits everything. */
const maxFiles = 1000;

/** Reads the file that a process was started with, and those that it imports. */
export async function readConfiguration(node: Pick<ContainerdNode, "pid" | "local">): Promise<Configuration> {
  const command = (await readFile(`/proc/${node.pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return readConfigurationFiles(configPath(command), node.local);
}

/**
 * Reads a file and those that it imports, and these import, each once and in containerd's order (`cmd/containerd/server/config/config.go`, LoadConfig):
 * those of one file after all that were named before. `local`: where the paths of containerd are reached.
 */
export async function readConfigurationFiles(
  path: string,
  local: (path: string) => string = (each) => each,
): Promise<Configuration> {
  const problems: string[] = [];
  const tables: Table[] = [];
  const pending = [path];
  const seen = new Set<string>();
  for (let file = pending.shift(); file !== undefined && seen.size < maxFiles; file = pending.shift()) {
    if (seen.has(file)) continue;
    seen.add(file);
    let imports: unknown;
    try {
      const table = asTable(parse(await readFile(local(file), "utf8")));
      tables.push(table);
      ({ imports } = table);
    } catch (error) {
      problems.push(`${file}: ${causeText(error)}`);
      if (file === usualPath) imports = [usualImports];
    }
    for (const pattern of Array.isArray(imports) ? imports : [])
      if (typeof pattern === "string") pending.push(...(await importedFiles(file, pattern, local)));
  }
  const values = (...keys: readonly string[]) =>
    tables
      .map((table) => keys.reduce<unknown>((at, key) => asTable(at)[key], table))
      .filter((value) => value !== undefined);
  return { path, problems, values, value: (...keys) => values(...keys).at(-1) };
}

async function importedFiles(parent: string, name: string, local: (path: string) => string): Promise<string[]> {
  const path = normalize(isAbsolute(name) ? name : join(dirname(parent), name));
  if (!path.includes("*")) return [path];
  const root = local("/").replace(/\/$/, "");
  const files = await Array.fromAsync(glob(local(path))).catch(() => []);
  return files.sort().map((file) => file.slice(root.length));
}

/** From the command line of the daemon (containerd `cmd/containerd/command/main.go`). */
export function configPath(command: readonly string[]): string {
  return optionOf(command, ["config", "c"]) ?? usualPath;
}

/** The value of an option on a command line as Go's flag packages take it: `--name value`, `--name=value`, or with one dash. */
export function optionOf(command: readonly string[], names: readonly string[]): string | undefined {
  for (const [i, word] of command.entries()) {
    const [, name = "", value] = /^--?([\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (names.includes(name)) return value ?? command[i + 1];
  }
  return undefined;
}

function asTable(value: unknown): Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
