import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";

/** Where systemd looks for units (systemd.unit(5)), the first before the others. */
const unitFolders = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/**
 * The variables that systemd would start a service with, from `Environment=` and `EnvironmentFile=` of its unit and the unit's drop-ins
 * (systemd.exec(5)). Specifiers (`%h`) are left as they are. Empty where there is no such unit. `root`: where the files are, for another root
 * file system than ours.
 */
export async function unitEnvironment(unit: string, root = "/"): Promise<Readonly<Record<string, string>>> {
  const variables: Record<string, string> = {};
  const files: string[] = [];
  for (const text of await unitTexts(unit, root)) {
    for (const [key, value] of serviceSettings(text)) {
      if (key === "Environment" && value === "") for (const name of Object.keys(variables)) delete variables[name];
      else if (key === "Environment") for (const word of words(value)) assign(variables, word);
      else if (key === "EnvironmentFile" && value === "") files.length = 0;
      else if (key === "EnvironmentFile") files.push(value.replace(/^-/, ""));
    }
  }
  for (const file of files) {
    const text = await readFile(join(root, file), "utf8").catch(() => "");
    for (const line of text.split("\n")) {
      const trimmed = line.trim();
      const [word] = /^[#;]/.test(trimmed) ? [] : words(trimmed);
      if (word !== undefined) assign(variables, word);
    }
  }
  return variables;
}

/** The unit's file, then its drop-ins by their names; of two of the same name that of the first folder. */
async function unitTexts(unit: string, root: string): Promise<string[]> {
  const dropIns = new Map<string, string>();
  let main: string | undefined;
  for (const folder of unitFolders) {
    main ??= await readFile(join(root, folder, unit), "utf8").catch(() => undefined);
    const names = await readdir(join(root, folder, `${unit}.d`)).catch(() => []);
    for (const name of names.filter((each) => each.endsWith(".conf"))) {
      if (!dropIns.has(name)) dropIns.set(name, join(root, folder, `${unit}.d`, basename(name)));
    }
  }
  const paths = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8").catch(() => "")));
  return [main ?? "", ...texts];
}

/** Assignments of the section `[Service]`; lines that end in a backslash go on. */
function* serviceSettings(text: string): Generator<[string, string]> {
  let section = "";
  for (const line of text.replace(/\\\n/g, " ").split("\n")) {
    const trimmed = line.trim();
    if (trimmed === "" || /^[#;]/.test(trimmed)) continue;
    const [, name] = /^\[(.*)\]$/.exec(trimmed) ?? [];
    if (name !== undefined) section = name;
    const [, key, value] = /^([A-Za-z]+)\s*=\s*(.*)$/.exec(trimmed) ?? [];
    if (section === "Service" && key !== undefined && value !== undefined) yield [key, value];
  }
}

/** Words between blanks, which quotes hold together; a backslash takes the next character as it is. */
function words(text: string): string[] {
  const found: string[] = [];
  for (const [word] of text.matchAll(/(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\.|[^\s"'\\])+/g)) {
    found.push(
      word.replace(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|\\(.)/g, (_whole, double, single, one) =>
        (double ?? single ?? one ?? "").replace(/\\(.)/g, "$1"),
      ),
    );
  }
  return found;
}

function assign(variables: Record<string, string>, word: string): void {
  const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(word) ?? [];
  if (name !== undefined && value !== undefined) variables[name] = value;
}
