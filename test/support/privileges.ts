import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Value for the `skip` option of a test that mounts or runs containerd: `false` for root, else why not. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : "needs root";

/** Path of a program on PATH or in the system's folders; `undefined` when the machine has none. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/go/bin", "/usr/sbin", "/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** `skip` for a test that runs these programs. */
export function needsProgram(...programs: readonly string[]): string | false {
  const missing = programs.filter((name) => findProgram(name) === undefined);
  return missing.length > 0 && `needs ${missing.join(", ")}`;
}

/** `skip` for a test that runs these programs as root. */
export function needs(...programs: readonly string[]): string | false {
  return needsRoot || needsProgram(...programs);
}
