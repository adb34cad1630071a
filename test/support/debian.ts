import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
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
    // In a folder of its own until all are there: another process may do the same.
    const partial = await mkdtemp(join(folder, ".partial-"));
    await downloadAll(apt, partial, names);
    for (const file of await readdir(partial)) await rename(join(partial, file), join(folder, file));
    await rm(partial, { recursive: true });
    await writeFile(join(folder, "complete"), "");
  }
  return (await list()).map((name) => join(folder, name));
}

/** `apt-get download` ends well even when it names what it got `….FAILED`: what is missing is asked for again. */
async function downloadAll(apt: readonly string[], folder: string, names: readonly string[]): Promise<void> {
  let failure: unknown;
  for (let attempt = 0; attempt < 3; attempt++) {
    for (const name of await readdir(folder)) if (name.endsWith(".FAILED")) await rm(join(folder, name));
    const files = await readdir(folder);
    const missing = names.filter((name) => !files.some((file) => file.startsWith(`${name}_`) && file.endsWith(".deb")));
    if (missing.length === 0) return;
    failure = new Error(`could not download ${missing.join(", ")}`);
    await run("apt-get", [...apt, "download", ...missing], { cwd: folder, timeoutMs: 600_000 }).catch((error) => {
      failure = error;
    });
  }
  throw failure;
}

/** As `downloadPackages`, unpacked into one folder, which is the root of a small Debian system. */
export async function unpackPackages(cacheName: string, options: PackageOptions): Promise<string> {
  const root = join(await cacheDirectory(cacheName), "root");
  if (existsSync(root)) return root;
  const files = await downloadPackages(cacheName, options);
  const partial = await mkdtemp(join(dirname(root), ".partial-"));
  for (const file of files) await run("dpkg-deb", ["-x", file, partial]);
  await moveUnlessThere(partial, root);
  return root;
}

/**
 * Folder of programs of another Debian release. Where the packages hold a loader (`withDependencies`), the programs are
 * changed to use it and the libraries beside it: a program that starts itself again through /proc/self/exe, as runc and
 * containerd's shim do, cannot be run by naming a loader on the command line. Throws when they cannot be had.
 */
export async function foreignPrograms(options: PackageOptions, names: readonly string[]): Promise<string> {
  const cacheName = `debian-${options.suite}-${options.packages[0]}`;
  const root = await unpackPackages(cacheName, options);
  const folder = join(await cacheDirectory(cacheName), "programs");
  if (names.every((name) => existsSync(join(folder, name)))) return folder;
  const patterns = ["ld-linux-*.so.*", "*.so.*"].flatMap((pattern) => ["-o", "-name", pattern]).slice(1);
  const libraries = (await run("find", [root, ...patterns])).trim().split("\n");
  const loader = libraries.find((path) => /\/lib\/.*\/ld-linux/.test(path));
  const runPath = [...new Set(libraries.map((path) => dirname(path)))].filter((path) => /-linux-gnu$/.test(path));
  const changes = ["--force-rpath", "--set-rpath", runPath.join(":")];
  if (loader !== undefined) changes.push("--set-interpreter", loader);
  await mkdir(folder, { recursive: true });
  for (const name of names) {
    const program = (await run("find", [root, "-path", `*bin/${name}`, "-type", "f"])).trim().split("\n")[0];
    if (!program) throw new Error(`${options.packages.join(", ")} of ${options.suite} have no program ${name}`);
    const partial = join(folder, `.${name}.${process.pid}`);
    await copyFile(program, partial);
    await run("patchelf", [...changes, partial]);
    await rename(partial, join(folder, name));
  }
  return folder;
}

/** Another process may have made the same folder meanwhile: its folder stays then. */
async function moveUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
    await rm(from, { recursive: true, force: true });
  }
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
    "Acquire::Retries": "3",
    "APT::Sandbox::User": "root",
  };
  await writeFile(`${directory}/status`, "");
  return ["-q", ...Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`])];
}

async function dependencies(apt: readonly string[], packages: readonly string[]): Promise<string[]> {
  const plan = await run("apt-get", [...apt, "install", "--simulate", "--no-install-recommends", ...packages]);
  return [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? "");
}
