import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Folders of units, first the one that counts most (systemd.unit(5), "System Unit Search Path"). */
export const unitFolders: readonly string[] = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/** An assignment of the section `[Service]`. */
export type ServiceSetting = readonly [key: string, value: string];

/**
 * What a unit and its drop-ins assign in `[Service]` (systemd.unit(5)), in the order in which it counts, with no systemd at hand. Specifiers
 * such as `%i` are left as they are. What cannot be read is passed over; empty where there is no such unit.
 */
export async function readServiceSettings(unit: string, folders: readonly string[]): Promise<ServiceSetting[]> {
  return (await unitTexts(unit, folders)).flatMap(serviceSettings);
}

/**
 * The variables that such settings give a service, from `Environment=` and `EnvironmentFile=` (systemd.exec(5)); an empty value takes back what
 * came before. `root`: where the files are, for another root file system than ours.
 */
export async function serviceEnvironment(
  settings: readonly ServiceSetting[],
  root = "/",
): Promise<Readonly<Record<string, string>>> {
  let words: string[] = [];
  let files: string[] = [];
  for (const [key, value] of settings) {
    if (key === "Environment") words = value === "" ? [] : [...words, ...splitWords(value)];
    if (key === "EnvironmentFile") files = value === "" ? [] : [...files, value.replace(/^-/, "")];
  }
  for (const file of files) {
    const lines = (await readText(join(root, file))).split("\n").map((line) => line.trim());
    words.push(...lines.filter((line) => !/^[#;]/.test(line)).map((line) => splitWords(line).join(" ")));
  }
  const assigned = words.map((word) => /^([A-Za-z_]\w*)=(.*)$/s.exec(word));
  return Object.fromEntries(assigned.flatMap((match) => (match ? [[match[1] ?? "", match[2] ?? ""]] : [])));
}

/** Words between blanks, which quotes hold together; a backslash takes the next character as it is. */
export function splitWords(text: string): string[] {
  const words = text.match(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+/gs) ?? [];
  return words.map((word) =>
    word
      .replace(/"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'/gs, (_, double, single) => double ?? single)
      .replace(/\\(.)/gs, "$1"),
  );
}

/** The unit's file, then its drop-ins by their names; of two of one name that of the first folder. */
async function unitTexts(unit: string, folders: readonly string[]): Promise<string[]> {
  const dropIns = new Map<string, string>();
  let main = "";
  for (const folder of folders) {
    if (main === "") main = await readText(join(folder, unit));
    const names = await readdir(join(folder, `${unit}.d`)).catch(() => []);
    for (const name of names)
      if (name.endsWith(".conf") && !dropIns.has(name)) dropIns.set(name, join(folder, `${unit}.d`, name));
  }
  const ordered = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1));
  return [main, ...(await Promise.all(ordered.map(([, path]) => readText(path))))];
}

/** Lines that end in a backslash go on. */
function serviceSettings(text: string): ServiceSetting[] {
  const settings: ServiceSetting[] = [];
  let section = "";
  for (const line of text.replace(/\\\r?\n/g, " ").split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || /^[#;]/.test(trimmed)) continue;
    section = /^\[(.*)\]$/.exec(trimmed)?.[1] ?? section;
    const [, key = "", value = ""] = /^(\w+)\s*=\s*(.*)$/s.exec(trimmed) ?? [];
    if (section === "Service" && key !== "") settings.push([key, value]);
  }
  return settings;
}

async function readText(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
