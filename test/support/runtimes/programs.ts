import { existsSync } from "node:fs";
import { join } from "node:path";
import { foreignPrograms, type PackageOptions } from "../debian.ts";
import { needs } from "../privileges.ts";
import { run } from "../processes.ts";

/** Debian releases that containerd, runc and Docker of the tests come from. */
export type Suite = "bookworm" | "trixie" | "sid";

const containerdPrograms = ["containerd", "containerd-shim-runc-v2", "ctr", "runc"];
const dockerPrograms = ["dockerd", "docker"];

/** Only what is newer than the machine brings a libc of its own. */
const releases: Record<Suite, { readonly options: PackageOptions; readonly programs: readonly string[] }> = {
  bookworm: {
    options: {
      suite: "bookworm",
      packages: ["containerd", "runc", "libseccomp2", "docker.io", "libdevmapper1.02.1"],
    },
    programs: [...containerdPrograms, ...dockerPrograms],
  },
  trixie: {
    options: { suite: "trixie", packages: ["containerd"], withDependencies: true },
    programs: containerdPrograms,
  },
  sid: {
    options: { suite: "sid", packages: ["containerd", "docker.io", "docker-cli"], withDependencies: true },
    programs: [...containerdPrograms, ...dockerPrograms],
  },
};

/**
 * Folder of a release's containerd, shim, ctr and runc, and of its dockerd and docker but for trixie. Downloaded once and
 * kept in the cache folder. Throws when they cannot be had.
 */
export async function releasePrograms(suite: Suite): Promise<string> {
  const { options, programs } = releases[suite];
  const folder = folders.get(suite) ?? foreignPrograms(options, programs);
  folders.set(suite, folder);
  return folder;
}

/** Asked for more than once at a time, but fetched once. */
const folders = new Map<Suite, Promise<string>>();

/** Folder of `mkfs.erofs` and `fsck.erofs` 1.8, which containerd's EROFS differ wants. Throws when they cannot be had. */
export async function newErofsPrograms(): Promise<string> {
  const options = { suite: "trixie", packages: ["erofs-utils"], withDependencies: true };
  return foreignPrograms(options, ["mkfs.erofs", "fsck.erofs"]);
}

/** Path of a runc from 1.2 on, which knows user namespaces over CRI; `undefined` where none can be had. */
export async function findNewRunc(): Promise<string | undefined> {
  if (needs("patchelf")) return undefined;
  const folder = await releasePrograms("sid").catch(() => undefined);
  if (folder === undefined) return undefined;
  const runc = join(folder, "runc");
  const [major = 0, minor = 0] = (await programVersion(runc)).split(".").map(Number);
  return major > 1 || minor >= 2 ? runc : undefined;
}

/** The first `1.2.3` of what a program says to `--version`. */
export async function programVersion(program: string): Promise<string> {
  if (!existsSync(program)) throw new Error(`there is no ${program}`);
  const said = await run(program, ["--version"]);
  const version = /\d+\.\d+\.\d+/.exec(said)?.[0];
  if (version === undefined) throw new Error(`${program} --version names no version: ${said}`);
  return version;
}
