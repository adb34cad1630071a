import { glob, readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { parse } from "smol-toml";
import { causeText } from "../../oci/oci-error.ts";
import type { ContainerdNode } from "./containerd-node.ts";

type Table = Readonly<Record<string, unknown>>;

/** Configuration files of a containerd that runs. What they say now need not be what it read when it was started. */
export type Configuration = {
  /** The main file as containerd sees it. */
  readonly path: string;
  /** Why a file could not be read; the others count. */
  readonly problems: readonly string[];
  /** The value at a path of keys: of the last file that has one, as files imported override the main one. */
  value(...keys: readonly string[]): unknown;
};

const usualPath = "/etc/containerd/config.toml";

/** Reads the file that the process was started with, and those that it imports. */
export async function readConfiguration(node: Pick<ContainerdNode, "pid" | "local">): Promise<Configuration> {
  const command = (await readFile(`/proc/${node.pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  const path = configPath(command);
  const problems: string[] = [];
  const tables: Table[] = [];
  const read = async (file: string): Promise<Table> => {
    try {
      const table = asTable(parse(await readFile(node.local(file), "utf8")));
      tables.push(table);
      return table;
    } catch (error) {
      problems.push(`${file}: ${causeText(error)}`);
      return {};
    }
  };
  const { imports } = await read(path);
  for (const pattern of Array.isArray(imports) ? imports.map(String) : []) {
    const absolute = isAbsolute(pattern) ? pattern : join(dirname(path), pattern);
    const root = node.local("/").replace(/\/$/, "");
    const files = await Array.fromAsync(glob(node.local(absolute)));
    for (const file of files.sort()) await read(file.slice(root.length));
  }
  return {
    path,
    problems,
    value: (...keys) => {
      const values = tables.map((table) => keys.reduce<unknown>((at, key) => asTable(at)[key], table));
      return values.findLast((value) => value !== undefined);
    },
  };
}

/** From the command line of the daemon (containerd `cmd/containerd/command/main.go`). */
export function configPath(command: readonly string[]): string {
  for (const [i, word] of command.entries()) {
    if (/^--?(config|c)$/.test(word)) return command[i + 1] ?? usualPath;
    const value = /^--?(?:config|c)=(.+)$/.exec(word)?.[1];
    if (value !== undefined) return value;
  }
  return usualPath;
}

function asTable(value: unknown): Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
