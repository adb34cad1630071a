import { createHash } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../test/support/processes.ts";
import { cacheDirectory, type Scope, temporaryDirectory } from "../../test/support/temporary.ts";
import { mirrorsOf, snapshotOf } from "./apt.ts";
import { type Architecture, type DebianPin, koffiPin, type NpmPin, type Pins } from "./pins.ts";

/** Folders with what the packages of one architecture hold. */
export type Parts = {
  /** All Debian packages in one folder. */
  readonly debian: string;
  /** The control record of each of them, by name. */
  readonly controls: ReadonlyMap<string, string>;
  readonly node: string;
  readonly koffi: string;
};

/** Fetches and unpacks, into folders of the scope, everything of an architecture. What was fetched before is taken from the cache. */
export async function fetchParts(scope: Scope, pins: Pins, architecture: Architecture): Promise<Parts> {
  const debian = await temporaryDirectory(scope, "deb");
  const controls = new Map<string, string>();
  for (const pin of pins.debian.filter((each) => each.architecture === architecture)) {
    const file = await debianPackage(pin, pins.snapshot);
    await run("dpkg-deb", ["--extract", file, debian]);
    controls.set(pin.name, await run("dpkg-deb", ["--field", file]));
  }
  const node = await unpackNpm(scope, pins.node[architecture]);
  const koffi = await unpackNpm(scope, koffiPin(architecture));
  return { debian, controls, node, koffi };
}

/** The package's file: from the cache, a mirror of this machine, or snapshot.debian.org where mirrors have newer versions only. */
async function debianPackage(pin: DebianPin, snapshot: string): Promise<string> {
  return cached(`${pin.name}_${pin.architecture}.deb`, { algorithm: "sha256", hash: pin.sha256 }, async (to) => {
    await downloadFromFirst([...(await mirrorsOf(pin.archive)), snapshotOf(pin.archive, snapshot)], pin, to);
  });
}

/** Asks one archive root after the other for a package, by apt's own means, which know the machine's proxies. Throws when none has those bytes. */
export async function downloadFromFirst(
  roots: readonly string[],
  { path, sha256, sizeBytes }: Pick<DebianPin, "path" | "sha256" | "sizeBytes">,
  to: string,
): Promise<void> {
  const failures: string[] = [];
  for (const root of roots) {
    const uri = `${root}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"];
    const words = [...options, "download-file", uri, to, `SHA256:${sha256}`];
    try {
      await run("/usr/lib/apt/apt-helper", words, { timeoutMs: 300_000 });
      if ((await readFile(to)).length === sizeBytes) return;
      failures.push(`${uri}: another size than ${sizeBytes} bytes`);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`no archive has ${path} as it is pinned:\n${failures.join("\n")}`);
}

async function unpackNpm(scope: Scope, pin: NpmPin): Promise<string> {
  const [algorithm = "", base64 = ""] = pin.integrity.split("-", 2);
  const hash = Buffer.from(base64, "base64").toString("hex");
  const name = `${pin.name.replace(/^@/, "").replace("/", "-")}.tgz`;
  const file = await cached(name, { algorithm, hash }, async (to) => {
    await using own = new AsyncDisposableStack();
    const folder = await temporaryDirectory(own, "npm");
    const words = ["pack", `${pin.name}@${pin.version}`, "--silent", "--pack-destination", folder];
    const made = (await run("npm", words, { timeoutMs: 600_000 })).trim().split("\n").at(-1) ?? "";
    // Over the border of file systems.
    await run("cp", [join(folder, made), to]);
  });
  const folder = await temporaryDirectory(scope, "npm");
  await run("tar", ["-xzf", file, "-C", folder, "--strip-components=1", "--no-same-owner"]);
  return folder;
}

/** A file of the cache with that hash; `make` puts it there when it is missing or damaged. Throws when what it made has another hash. */
async function cached(
  name: string,
  { algorithm, hash }: { readonly algorithm: string; readonly hash: string },
  make: (to: string) => Promise<void>,
): Promise<string> {
  const path = join(await cacheDirectory("image-parts"), `${hash.slice(0, 16)}-${name}`);
  const isRight = async (file: string) =>
    createHash(algorithm)
      .update(await readFile(file).catch(() => ""))
      .digest("hex") === hash;
  if (await isRight(path)) return path;
  const partial = `${path}.${process.pid}`;
  await make(partial);
  if (!(await isRight(partial))) {
    await rm(partial, { force: true });
    throw new Error(`${name}: what was fetched is not what is pinned (${algorithm} ${hash})`);
  }
  await rename(partial, path);
  return path;
}
