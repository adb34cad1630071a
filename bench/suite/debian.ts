import { existsSync } from "node:fs";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BenchCache } from "./cache.ts";
import { run } from "./command.ts";

/** A downloaded package: the path of its .deb. */
export type Deb = { readonly name: string; readonly path: string };

/** Debian packages and what they need, as files of a cache; the system's own packages are neither used nor changed. */
export class DebianPackages {
  readonly #directory: string;
  readonly #emptyStatus: string;

  constructor(cache: BenchCache) {
    this.#directory = join(cache.packages, "debian");
    this.#emptyStatus = join(cache.packages, "empty-status");
  }

  /** The named packages with all they depend on, without those of `without`; downloaded, ordered by name. */
  async resolve(names: readonly string[], without: readonly Deb[] = []): Promise<Deb[]> {
    await mkdir(join(this.#directory, "partial"), { recursive: true });
    await writeFile(this.#emptyStatus, "");
    const printed = await this.#apt(["--print-uris", ...names], join(this.#directory, "none"));
    const have = new Set(without.map((deb) => deb.name));
    const debs = [...printed.matchAll(/^'[^']+' (([^_\s]+)_\S+\.deb) /gm)]
      .map(([, file, name]) => ({ name, path: join(this.#directory, file) }))
      .filter((deb) => !have.has(deb.name))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    if (debs.some((deb) => !existsSync(deb.path))) {
      process.stderr.write(`bench: download ${names.slice(0, 5).join(" ")}\n`);
      await this.#apt(["--download-only", ...names], this.#directory);
    }
    return debs;
  }

  /** What every Debian system has: the packages that are essential or of priority `required`. */
  async base(): Promise<Deb[]> {
    const available = await run("apt-cache", ["-o", `Dir::State::status=${this.#emptyStatus}`, "dumpavail"]);
    const names = new Set<string>();
    for (const stanza of available.split("\n\n")) {
      if (!/^(Essential: yes|Priority: required)$/m.test(stanza)) continue;
      const name = /^Package: (\S+)$/m.exec(stanza)?.[1];
      if (name !== undefined) names.add(name);
    }
    return this.resolve([...names].sort());
  }

  async #apt(args: readonly string[], archives: string): Promise<string> {
    await mkdir(join(archives, "partial"), { recursive: true });
    const settings = [
      `Dir::State::status=${this.#emptyStatus}`,
      `Dir::Cache::archives=${archives}`,
      "APT::Sandbox::User=",
      "Debug::NoLocking=1",
    ];
    const options = ["-y", "-qq", "--no-install-recommends", ...settings.flatMap((setting) => ["-o", setting])];
    return run("apt-get", ["install", ...options, ...args]);
  }
}

/** Folders that are links into `/usr` on Debian. */
const mergedFolders = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/**
 * Unpacks packages as dpkg would lay them out, without running their scripts, and writes `var/lib/dpkg/status` for
 * `installed` and them. `withLinks`: also the links of the merged `/usr` (for the lowest layer).
 */
export async function unpack(
  debs: readonly Deb[],
  directory: string,
  options: { readonly installed?: readonly Deb[]; readonly withLinks?: boolean } = {},
): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  for (const folder of mergedFolders) {
    await mkdir(join(directory, "usr", folder), { recursive: true });
    await symlink(`usr/${folder}`, join(directory, folder));
  }
  const script = `set -eu; for deb in "$@"; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -p --keep-directory-symlink --numeric-owner -C "$DIRECTORY" -f -
  done
  mkdir -p "$DIRECTORY/var/lib/dpkg"`;
  await run("bash", ["-c", `set -o pipefail; DIRECTORY=$0; ${script}`, directory, ...debs.map((deb) => deb.path)]);
  const statuses = [
    "-c",
    'for deb in "$@"; do dpkg-deb -f "$deb"; echo "Status: install ok installed"; echo; done',
    "-",
  ];
  const paths = [...(options.installed ?? []), ...debs].map((deb) => deb.path);
  await writeFile(join(directory, "var/lib/dpkg/status"), await run("bash", [...statuses, ...paths]));
  if (options.withLinks) return;
  for (const folder of mergedFolders) await rm(join(directory, folder));
  for (const folder of mergedFolders)
    await run("rmdir", ["--ignore-fail-on-non-empty", join(directory, "usr", folder)]);
}

/** Takes away what slim images leave out. */
export async function slim(directory: string): Promise<void> {
  const script = `find usr/share/doc -type f ! -name copyright -delete; find usr/share/doc -type l -delete
    rm -rf usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/share/bug`;
  await run("bash", ["-c", script], { cwd: directory });
}

/** A folder of npm packages with all they need, kept in the cache. */
export async function npmPackages(cache: BenchCache, name: string, packages: readonly string[]): Promise<string> {
  const directory = join(cache.packages, "npm", name);
  if (existsSync(directory)) return directory;
  process.stderr.write(`bench: npm install ${packages.join(" ")}\n`);
  const partial = `${directory}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  await writeFile(join(partial, "package.json"), '{"name":"app","private":true}\n');
  await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...packages], { cwd: partial });
  await rename(partial, directory);
  return directory;
}
