import { readServiceSettings, serviceEnvironment, splitWords, unitFolders } from "./systemd-unit.ts";

/**
 * What a service of systemd runs, by its unit file and drop-ins (systemd.service(5)), with no systemd at hand. The service's variables are put
 * in; specifiers such as `%i` are left as they are. What cannot be read is passed over.
 */
export async function readUnitCommands(
  unit: string,
  folders: readonly string[] = unitFolders,
): Promise<readonly (readonly string[])[]> {
  const settings = await readServiceSettings(unit, folders);
  const environment = new Map(Object.entries(await serviceEnvironment(settings)));
  let commands: string[] = [];
  for (const [key, value] of settings) if (key === "ExecStart") commands = value === "" ? [] : [...commands, value];
  return commands.map((command) => expand(splitWords(command.replace(/^[@\-:+!|]+/, "")), environment));
}

/** `$NAME` as a word of its own becomes the words of its value, `${NAME}` is put in where it stands. */
function expand(words: readonly string[], environment: ReadonlyMap<string, string>): string[] {
  return words.flatMap((word) => {
    const alone = /^\$(\w+)$/.exec(word)?.[1];
    if (alone !== undefined) return splitWords(environment.get(alone) ?? "");
    return [word.replace(/\$\{(\w+)\}/g, (_, name) => environment.get(name) ?? "")];
  });
}
