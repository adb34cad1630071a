import { readFile } from "node:fs/promises";
import { readServiceSettings, serviceEnvironment, unitFolders } from "./systemd-unit.ts";

/** The variables that name proxies, in the cases that are set: of the process of a daemon, or of its unit while it does not run. */
export async function proxyEnvironment(pid: number | undefined, unit: string): Promise<Record<string, string>> {
  const all = pid === undefined ? await unitEnvironment(unit) : await processEnvironment(pid);
  return Object.fromEntries(Object.entries(all).filter(([name]) => /^(?:https?|no)_proxy$/i.test(name)));
}

async function unitEnvironment(unit: string): Promise<Readonly<Record<string, string>>> {
  return serviceEnvironment(await readServiceSettings(unit, unitFolders));
}

async function processEnvironment(pid: number): Promise<Record<string, string>> {
  const text = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
  const pairs = text.split("\0").map((pair) => /^([^=]+)=(.*)$/s.exec(pair));
  return Object.fromEntries(pairs.flatMap((pair) => (pair ? [[pair[1] ?? "", pair[2] ?? ""]] : [])));
}
