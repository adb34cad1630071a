import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FuzzInput } from "./target.ts";

/** Inputs that failed once: files `<target>-<digest>.<part>`. */
export const seedsFolder = join(import.meta.dirname, "../../test/corpus/seeds");

/** Keeps an input; its name. */
export function keepSeed(target: string, input: FuzzInput, folder = seedsFolder): string {
  const parts = Object.entries(input);
  const digest = createHash("sha256");
  for (const [part, bytes] of parts) digest.update(part).update(bytes);
  const name = `${target}-${digest.digest("hex").slice(0, 16)}`;
  mkdirSync(folder, { recursive: true });
  for (const [part, bytes] of parts) writeFileSync(join(folder, `${name}.${part}`), bytes);
  return name;
}

/** The kept inputs of a target, by name. */
export function keptSeeds(target: string, folder = seedsFolder): ReadonlyMap<string, FuzzInput> {
  const found = new Map<string, Record<string, Buffer>>();
  for (const fileName of existsSync(folder) ? readdirSync(folder).sort() : []) {
    const [, name, part] = /^(\w+-[0-9a-f]{16})\.([\w-]+)$/.exec(fileName) ?? [];
    if (name === undefined || part === undefined || !name.startsWith(`${target}-`)) continue;
    found.set(name, { ...found.get(name), [part]: readFileSync(join(folder, fileName)) });
  }
  return found;
}
