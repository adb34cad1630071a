import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { run } from "./processes.ts";
import { cacheDirectory, type Scope, temporaryDirectory } from "./temporary.ts";

export type PackageOptions = {
  /** Name of the suite; the machine's own mirror must have it. */
  readonly suite: string;
  readonly packages: readonly string[];
  /** All that they depend on, too. */
  readonly withDependencies?: boolean;
};

/**
 * Packages of any Debian suite as `.deb` files, without touching the system: apt gets folders of its own. `cacheName` carries
 * what is asked for; a second call finds it in the cache folder.
 */
export async function downloadPackages(cacheName: string, options: PackageOptions): Promise<string[]> {
  const folder = await cacheDirectory(cacheName);
  const list = async () => (await readdir(folder)).filter((name) => name.endsWith(".deb")).sort();
  if (!existsSync(join(folder, "complete"))) {
    await using scope = new AsyncDisposableStack();
    const apt = await privateApt(scope, options.suite);
    await run("apt-get", [...apt, "update"], { timeoutMs: 300_000 });
    const names = options.withDependencies ? await dependencies(apt, options.packages) : options.packages;
    await run("apt-get", [...apt, "download", ...names], { cwd: folder, timeoutMs: 600_000 });
    await writeFile(join(folder, "complete"), "");
  }
  return (await list()).map((name) => join(folder, name));
}

/** As `downloadPackages`, unpacked into one folder, which is the root of a small Debian system. */
export async function unpackPackages(cacheName: string, options: PackageOptions): Promise<string> {
  const root = join(await cacheDirectory(cacheName), "root");
  if (existsSync(root)) return root;
  const files = await downloadPackages(cacheName, options);
  const partial = await mkdtemp(join(dirname(root), ".partial-"));
  for (const file of files) await run("dpkg-deb", ["-x", file, partial]);
  await rename(partial, root);
  return root;
}

/**
 * Folder of programs of another Debian release, each a script that runs the program with that release's own loader and
 * libraries. Throws when they cannot be had.
 */
export async function foreignPrograms(suite: string, packageName: string, names: readonly string[]): Promise<string> {
  const cacheName = `debian-${suite}-${packageName}`;
  const root = await unpackPackages(cacheName, { suite, packages: [packageName], withDependencies: true });
  const folder = join(await cacheDirectory(cacheName), "bin");
  await mkdir(folder, { recursive: true });
  const found = await run("find", [root, "-name", "ld-linux-*.so.*", "-o", "-name", "libc.so.6"]);
  const paths = found.trim().split("\n");
  const loader = paths.find((path) => basename(path).startsWith("ld-linux"));
  const libraries = paths.filter((path) => path.endsWith("libc.so.6")).map((path) => dirname(path));
  if (loader === undefined) throw new Error(`no loader among the packages that ${packageName} of ${suite} needs`);
  for (const name of names) {
    const program = (await run("find", [root, "-path", `*bin/${name}`, "-type", "f"])).trim().split("\n")[0];
    const script = `#!/bin/sh\nexec "${loader}" --library-path "${libraries.join(":")}" "${program}" "$@"\n`;
    const partial = join(folder, `.${name}.${process.pid}`);
    await writeFile(partial, script, { mode: 0o755 });
    await rename(partial, join(folder, name));
  }
  return folder;
}

/** apt options for state, cache and sources of one's own; the mirror is that of the machine. */
async function privateApt(scope: Scope, suite: string): Promise<string[]> {
  const format = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
  const mirrors = (await run("apt-get", format)).split("\n").filter((uri) => /\/debian\/?$/.test(uri));
  const mirror = mirrors[0] ?? "http://deb.debian.org/debian";
  const directory = await temporaryDirectory(scope, "apt");
  await mkdir(join(directory, "state/lists/partial"), { recursive: true });
  await mkdir(join(directory, "cache/archives/partial"), { recursive: true });
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const signedBy = existsSync(keyring) ? ` [signed-by=${keyring}]` : "";
  await writeFile(join(directory, "sources.list"), `deb${signedBy} ${mirror} ${suite} main\n`);
  const settings = {
    "Dir::State": `${directory}/state`,
    "Dir::State::status": `${directory}/status`,
    "Dir::Cache": `${directory}/cache`,
    "Dir::Etc::sourcelist": `${directory}/sources.list`,
    "Dir::Etc::sourceparts": "/dev/null",
    "Acquire::Languages": "none",
    "APT::Sandbox::User": "root",
  };
  await writeFile(`${directory}/status`, "");
  return ["-q", ...Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`])];
}

async function dependencies(apt: readonly string[], packages: readonly string[]): Promise<string[]> {
  const plan = await run("apt-get", [...apt, "install", "--simulate", "--no-install-recommends", ...packages]);
  return [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? "");
}
