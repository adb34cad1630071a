import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../test/support/temporary.ts";
import { architectures, type DebianArchive, debianArchives, debianSuite } from "./pins.ts";

/** Roots of the machine's own mirrors of an archive, and Debian's where it has none; without a slash at the end. */
export async function mirrorsOf(archive: DebianArchive): Promise<readonly string[]> {
  const targets = await run("apt-get", ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
  const roots = targets.split("\n").map((uri) => uri.replace(/\/$/, ""));
  const found = roots.filter((uri) => uri.endsWith(`/${archive}`));
  return found.length > 0 ? [...new Set(found)] : [`http://deb.debian.org/${archive}`];
}

/** Root of the archive that keeps each version ever published, as it was at that time. */
export function snapshotOf(archive: DebianArchive, time: string): string {
  return `https://snapshot.debian.org/archive/${archive}/${time}`;
}

/** Options for apt's programs: lists of their own, of all architectures, and nothing of the machine but its mirrors. */
export async function privateApt(scope: Scope): Promise<readonly string[]> {
  const directory = await temporaryDirectory(scope, "image-apt");
  for (const name of ["state/lists/partial", "cache/archives/partial"])
    await mkdir(join(directory, name), { recursive: true });
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const signedBy = existsSync(keyring) ? ` [signed-by=${keyring}]` : "";
  const lines: string[] = [];
  for (const archive of debianArchives) {
    const suite = archive === "debian" ? debianSuite : `${debianSuite}-security`;
    lines.push(`deb${signedBy} ${(await mirrorsOf(archive))[0]} ${suite} main\n`);
  }
  await writeFile(join(directory, "sources.list"), lines.join(""));
  await writeFile(join(directory, "status"), "");
  const settings = [
    `Dir::State=${directory}/state`,
    `Dir::State::status=${directory}/status`,
    `Dir::Cache=${directory}/cache`,
    `Dir::Etc::sourcelist=${directory}/sources.list`,
    "Dir::Etc::sourceparts=/dev/null",
    "Acquire::Languages=none",
    "Acquire::Retries=3",
    "APT::Sandbox::User=root",
    `APT::Architecture=${Object.keys(architectures)[0]}`,
    ...Object.keys(architectures).map((name) => `APT::Architectures::=${name}`),
  ];
  return ["-q", ...settings.flatMap((setting) => ["-o", setting])];
}
