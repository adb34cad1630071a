import { writeFile } from "node:fs/promises";
import { run } from "../../test/support/processes.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { mirrorsOf, privateApt } from "./apt.ts";
import {
  type Architecture,
  architectures,
  type DebianPin,
  debianArchives,
  debianPackages,
  type NpmPin,
  nodeVersion,
  type Pins,
  pinsFile,
} from "./pins.ts";

/** Pins the newest Debian packages, with their security fixes, and the Node of `.node-version`. */
export async function refreshPins(scope: Scope): Promise<Pins> {
  const snapshot = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const apt = await privateApt(scope);
  await run("apt-get", [...apt, "update"], { timeoutMs: 300_000 });
  const debian: DebianPin[] = [];
  const node: Partial<Record<Architecture, NpmPin>> = {};
  for (const architecture of Object.keys(architectures) as Architecture[]) {
    for (const name of debianPackages) debian.push(await debianPin(apt, name, architecture));
    node[architecture] = await npmPin(`node-linux-${architectures[architecture].npm}`, nodeVersion());
  }
  const pins: Pins = { snapshot, debian, node: node as Pins["node"] };
  await writeFile(pinsFile, `${JSON.stringify(pins, undefined, 2)}\n`);
  return pins;
}

async function debianPin(apt: readonly string[], name: string, architecture: Architecture): Promise<DebianPin> {
  const asked = `${name}:${architecture}`;
  const line = await run("apt-get", [...apt, "download", "--print-uris", asked]);
  const [, uri, size, sha256] = /^'([^']+)' \S+ (\d+) SHA256:([0-9a-f]{64})$/m.exec(line) ?? [];
  if (uri === undefined || sha256 === undefined) throw new Error(`apt-get does not say where ${asked} is: ${line}`);
  const record = await run("apt-cache", [...apt, "show", "--no-all-versions", asked]);
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, "m").exec(record)?.[1];
  const version = field("Version") ?? "";
  const [, sourceName = name, sourceVersion = version] = /^(\S+)(?: \((.+)\))?$/.exec(field("Source") ?? name) ?? [];
  for (const archive of debianArchives) {
    const mirror = (await mirrorsOf(archive)).find((each) => uri.startsWith(`${each}/`));
    if (mirror === undefined) continue;
    const path = decodeURIComponent(uri.slice(mirror.length + 1));
    const source = { name: sourceName, version: sourceVersion };
    return { name, architecture, version, source, archive, path, sizeBytes: Number(size), sha256 };
  }
  throw new Error(`${uri} is in none of the archives ${debianArchives.join(", ")}`);
}

async function npmPin(name: string, version: string): Promise<NpmPin> {
  const text = await run("npm", ["view", `${name}@${version}`, "dist.integrity", "--json", "--loglevel=error"]);
  const integrity: unknown = JSON.parse(text);
  if (typeof integrity !== "string") throw new Error(`the npm registry has no ${name} ${version} with a hash`);
  return { name, version, integrity };
}
