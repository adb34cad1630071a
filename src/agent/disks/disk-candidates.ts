import type { BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { causeText } from "../../oci/oci-error.ts";
import { formatDeviceNumber } from "../../runtime/host/device-number.ts";
import { errorCode } from "../../runtime/host/system-calls.ts";
import type { SeenDisk } from "../state/agent-state.ts";
import { configuredDevices } from "./configured-devices.ts";
import { deviceStamp, fileStamp } from "./disk-stamp.ts";
import { fileRefusal, fileSystemRefusal, folderRefusal } from "./trusted-path.ts";

/** Something at a place that is looked at. It has not been opened. */
export type Candidate = {
  readonly path: string;
  readonly kind: "file" | "device";
  /** `undefined` for what could not be looked at. */
  readonly stamp: SeenDisk | undefined;
  /** When the bytes of a file were written last. */
  readonly modifiedNs?: bigint;
  /** Why it must not be opened. */
  readonly refusal: string | undefined;
  /** Why it cannot be opened. */
  readonly failure?: string;
};

const maxRefused = 100;

/** Names that disks have: others are left alone, as are those that begin with a dot, under which files are written until they are whole. */
export function isDiskName(name: string): boolean {
  return name.endsWith(".erofs") && !name.startsWith(".");
}

/** What is said of a folder that could not be listed. */
export function failedFolder(folder: string, failure: string): Candidate {
  return { path: folder, kind: "file", stamp: undefined, refusal: undefined, failure };
}

/** What lies in a folder under names of disks. Empty when there is no folder. */
export async function fileCandidates(folder: string): Promise<readonly Candidate[]> {
  let names: string[];
  let refusal: string | undefined;
  try {
    names = (await readdir(folder)).filter(isDiskName).sort();
    if (names.length === 0) return [];
    refusal = (await folderRefusal(folder)) ?? (await fileSystemRefusal(folder));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    return [failedFolder(folder, `${folder} cannot be read: ${causeText(error)}`)];
  }
  const all: Candidate[] = [];
  // Whoever can write to a folder that is refused can fill it with names.
  for (const name of refusal === undefined ? names : names.slice(0, maxRefused)) {
    const candidate = await fileCandidate(join(folder, name), refusal);
    if (candidate !== undefined) all.push(candidate);
  }
  return all;
}

/** The file of a disk in a folder that has been looked at before, as it is now. Throws what `lstat(2)` gives. */
export async function lookAtFile(path: string): Promise<Candidate | undefined> {
  if (!isDiskName(basename(path))) return undefined;
  const folder = dirname(path);
  return fileCandidate(path, (await folderRefusal(folder)) ?? (await fileSystemRefusal(folder)));
}

async function fileCandidate(path: string, folderRefused: string | undefined): Promise<Candidate | undefined> {
  try {
    const stats = await lstat(path, { bigint: true });
    const refusal = folderRefused ?? (await ownRefusal(path, stats));
    return { path, kind: "file", stamp: fileStamp(path, stats), modifiedNs: stats.mtimeNs, refusal };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    return {
      path,
      kind: "file",
      stamp: undefined,
      refusal: undefined,
      failure: `${path} cannot be read: ${causeText(error)}`,
    };
  }
}

/** Why a file is not trusted, whatever its folder is. */
async function ownRefusal(path: string, stats: BigIntStats): Promise<string | undefined> {
  if (stats.isFile()) return fileRefusal(path, stats) ?? fileSystemRefusal(path);
  return `${path} is ${stats.isSymbolicLink() ? "a link" : "no file"}; put the disk's file itself there`;
}

/** The block devices that the configuration names. */
export async function deviceCandidates(patterns: readonly string[]): Promise<readonly Candidate[]> {
  if (patterns.length === 0) return [];
  const found = await configuredDevices(patterns);
  return Promise.all(
    found.map(async ({ path, device, stats }): Promise<Candidate> => {
      const stamp = await deviceStamp(path, stats);
      // A group such as `disk` can write to the root file system's device too: it is root.
      const isOpen = stats.uid !== 0n || (stats.mode & 0o002n) !== 0n;
      const refusal = isOpen
        ? `${path} can be written by others than root; check the rules of udev for it`
        : await folderRefusal(dirname(path));
      const candidate = { path, kind: "device", stamp, refusal } as const;
      if (stamp.sizeBytes > 0) return candidate;
      return {
        ...candidate,
        failure: `${path} (${formatDeviceNumber(device)}) is empty or gone; attach the disk again`,
      };
    }),
  );
}
