import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Folders of units, first the one that counts most (systemd.unit(5), "System Unit Search Path"). */
const unitFolders = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/**
 * What a service of systemd runs, by its unit file and drop-ins (systemd.unit(5), systemd.service(5), systemd.exec(5)), with no systemd at hand.
 * Variables of `Environment` and `EnvironmentFile` are put in; specifiers such as `%i` are left as they are. What cannot be read is passed over.
 */
export async function readUnitCommands(
  unit: string,
  folders: readonly string[] = unitFolders,
): Promise<readonly (readonly string[])[]> {
  const texts = await unitTexts(unit, folders);
  let commands: string[] = [];
  const environment = new Map<string, string>();
  const files: string[] = [];
  for (const [key, value] of texts.flatMap(serviceLines)) {
    if (key === "ExecStart") commands = value === "" ? [] : [...commands, value];
    if (key === "Environment") for (const word of splitWords(value)) setVariable(environment, word);
    if (key === "EnvironmentFile") files.push(value.replace(/^-/, ""));
  }
  for (const file of files)
    for (const line of (await readText(file)).split("\n")) setVariable(environment, splitWords(line).join(" "));
  return commands.map((command) => expand(splitWords(command.replace(/^[@\-:+!|]+/, "")), environment));
}

/** The unit file and its drop-ins, in the order in which they count. */
async function unitTexts(unit: string, folders: readonly string[]): Promise<string[]> {
  const dropIns = new Map<string, string>();
  const texts: string[] = [];
  for (const folder of folders) {
    if (texts.length === 0) {
      const text = await readText(join(folder, unit));
      if (text !== "") texts.push(text);
    }
    const names = await readdir(join(folder, `${unit}.d`)).catch(() => []);
    // Of drop-ins with one name the first one counts.
    for (const name of names)
      if (name.endsWith(".conf") && !dropIns.has(name)) dropIns.set(name, join(folder, `${unit}.d`, name));
  }
  const ordered = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1));
  return [...texts, ...(await Promise.all(ordered.map(([, path]) => readText(path))))];
}

function serviceLines(text: string): [key: string, value: string][] {
  const lines: [string, string][] = [];
  let section = "";
  for (const line of text.replace(/\\\r?\n/g, " ").split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#") || trimmed.startsWith(";")) continue;
    section = /^\[(.*)\]$/.exec(trimmed)?.[1] ?? section;
    const [, key = "", value = ""] = /^(\w+)\s*=\s*(.*)$/s.exec(trimmed) ?? [];
    if (section === "Service" && key !== "") lines.push([key, value]);
  }
  return lines;
}

/** At white space outside of quotes. */
function splitWords(text: string): string[] {
  const words = text.match(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+/gs) ?? [];
  return words.map((word) =>
    word
      .replace(/"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'/gs, (_, double, single) => double ?? single)
      .replace(/\\(.)/gs, "$1"),
  );
}

/** `$NAME` as a word of its own becomes the words of its value, `${NAME}` is put in where it stands. */
function expand(words: readonly string[], environment: ReadonlyMap<string, string>): string[] {
  return words.flatMap((word) => {
    const alone = /^\$(\w+)$/.exec(word)?.[1];
    if (alone !== undefined) return splitWords(environment.get(alone) ?? "");
    return [word.replace(/\$\{(\w+)\}/g, (_, name) => environment.get(name) ?? "")];
  });
}

function setVariable(environment: Map<string, string>, assignment: string): void {
  const [, name = "", value = ""] = /^\s*(\w+)=(.*)$/s.exec(assignment) ?? [];
  if (name !== "") environment.set(name, value);
}

async function readText(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
