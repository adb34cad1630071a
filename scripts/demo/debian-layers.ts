import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { downloadPackages } from "../../test/support/debian.ts";
import { run } from "../../test/support/processes.ts";

/** What each layer of Debian packages is asked to hold; what they depend on comes along, unless a layer below has it. */
export const packageLayers = {
  base: [
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "grep",
    "openssl",
    "sed",
    "tar",
    "tzdata",
  ],
  nginx: ["nginx-light"],
  python: ["python3"],
  numpy: ["python3-numpy"],
  postgres: ["postgresql"],
  compiler: ["gcc", "libc6-dev"],
} as const;

export type PackageLayer = keyof typeof packageLayers;

/** Layers that each one stands on. */
const below: Readonly<Record<PackageLayer, readonly PackageLayer[]>> = {
  base: [],
  nginx: ["base"],
  python: ["base"],
  numpy: ["base", "python"],
  postgres: ["base"],
  compiler: ["base"],
};

type Package = { readonly name: string; readonly file: string; readonly needs: readonly (readonly string[])[] };

/** Release of this machine, such as `bookworm`. */
export async function debianRelease(): Promise<string> {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(await readFile("/etc/os-release", "utf8"))?.[1];
  return release || "stable";
}

/** Downloads the packages of all layers (once; they stay in the cache) and unpacks each layer into a folder of `directory`. */
export async function unpackLayers(directory: string): Promise<Readonly<Record<PackageLayer, string>>> {
  const release = await debianRelease();
  const files = await downloadPackages(`demo-packages-${release}-2`, {
    suite: release,
    packages: Object.values(packageLayers).flat(),
    withDependencies: true,
  });
  const packages = await describePackages(files);
  const folders: Partial<Record<PackageLayer, string>> = {};
  for (const name of Object.keys(packageLayers) as PackageLayer[]) {
    const folder = join(directory, name);
    await mkdir(folder);
    const have = new Set(below[name].flatMap((each) => closure(packageLayers[each], packages)));
    const wanted = closure(packageLayers[name], packages).filter((each) => !have.has(each));
    for (const { file } of wanted) await run("dpkg-deb", ["--extract", file, folder]);
    folders[name] = folder;
  }
  return folders as Record<PackageLayer, string>;
}

async function describePackages(files: readonly string[]): Promise<ReadonlyMap<string, Package>> {
  const byName = new Map<string, Package>();
  for (const file of files) {
    const fields = parseFields(
      await run("dpkg-deb", ["--field", file, "Package", "Provides", "Pre-Depends", "Depends"]),
    );
    const name = fields.get("Package") ?? file;
    const provides = fields.get("Provides") ?? "";
    const depends = `${fields.get("Pre-Depends") ?? ""},${fields.get("Depends") ?? ""}`;
    const needs = names(depends).map((group) => group.split("|").map(bareName));
    const found: Package = { name, file, needs };
    for (const each of [...names(provides).map(bareName), name]) byName.set(each, found);
  }
  return byName;
}

/** `Name: value` lines. */
function parseFields(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/^([\w-]+): *(.*)$/gm)].map(([, name, value]) => [name, value]));
}

function names(list: string): readonly string[] {
  return list.split(",").filter((each) => each.trim() !== "");
}

/** `libc6:any (>= 2.34)` is `libc6`. */
function bareName(text: string): string {
  return text.trim().split(/[ :(]/, 1)[0];
}

/** Everything that `roots` need, in a fixed order. */
function closure(roots: readonly string[], packages: ReadonlyMap<string, Package>): readonly Package[] {
  const found = new Set<Package>();
  const queue = [...roots];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const wanted = packages.get(next);
    if (wanted === undefined || found.has(wanted)) continue;
    found.add(wanted);
    for (const choices of wanted.needs) {
      const choice = choices.find((each) => packages.has(each));
      if (choice !== undefined) queue.push(choice);
    }
  }
  return [...found].sort((left, right) => (left.name < right.name ? -1 : 1));
}
