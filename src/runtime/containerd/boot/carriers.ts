import { constants, lstatSync, readlinkSync } from "node:fs";
import { type FileHandle, readdir } from "node:fs/promises";
import { isAbsolute, join, normalize } from "node:path";
import { naturalNumber, object, optional, readShape, string, stringThat } from "../../../oci/json-shape.ts";
import { causeText, printable } from "../../../oci/oci-error.ts";
import { openBeneathMounts } from "../../host/beneath-mounts.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { Condition } from "../../runtime.ts";
import { layerCacheFolder } from "../layer-cache.ts";
import { type CarrierFile, carrierFileName } from "../ownership.ts";

/** A snapshot that links of ours lead through. */
export type Carrier = {
  /** Its folder below `snapshots`. */
  readonly number: string;
  /** On which the disk is mounted. */
  readonly fs: string;
  /** What lies in the snapshot itself, whatever is mounted over it; `undefined` when there is none, or the snapshot is gone. */
  readonly record: CarrierFile | undefined;
};

/** `conditions` are about carriers that are left out of `carriers`. */
export type FoundCarriers = { readonly carriers: readonly Carrier[]; readonly conditions: readonly Condition[] };

/** A few hundred bytes are usual; the path of `source` has at most 4096. */
const maxFileBytes = 16 << 10;

/** Where links of ours lead, seen from `snapshots/<number>`: a tree of a disk that is mounted on the `fs` of a carrier. */
const linkPattern = /^\.\.\/(\d{1,20})\/fs\/(?:images|layers)\/[0-9a-f]{64}$/;

const isVersion = (text: string): text is "1" => text === "1";
const isID = (text: string): text is string => /^[0-9a-f]{64}$/.test(text);
const isPlainPath = (text: string): text is string =>
  isAbsolute(text) && normalize(text) === text && !text.includes("\0");

const carrierFile = object({
  formatVersion: stringThat(isVersion, '"1"'),
  id: stringThat(isID, "64 hex digits"),
  line: string,
  sequence: naturalNumber,
  source: stringThat(isPlainPath, "an absolute path"),
  identity: optional(string),
});

/** Where the links of the layer cache lead, which serves the EROFS snapshotter. */
const layerImagePattern = /^\.\.\/\.\.\/\.\.\/snapshots\/(\d{1,20})\/fs\/erofs\/sha256\//;

/**
 * The carriers of a snapshotter, with neither it nor any state at hand: those that at least one snapshot leads through by a link of
 * ours. The links decide, not the files: what containers write, and what images hold, lies in `fs` folders too, so a file named like
 * ours may be theirs; but nobody inside `fs` can make `fs` itself a link.
 *
 * A folder that does not exist has none. One damaged file is one condition. Throws what `readdir(3)` gives.
 */
export async function findCarriers(snapshotsFolder: string): Promise<FoundCarriers> {
  const numbers = await readdir(snapshotsFolder).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return [];
    throw error;
  });
  const found = new Set<string>();
  for (const number of numbers) {
    const target = linkOf(join(snapshotsFolder, number, "fs"));
    const carrier = target === undefined ? undefined : linkPattern.exec(target)?.[1];
    if (carrier !== undefined) found.add(carrier);
  }
  for (const target of await layerImageLinks(snapshotsFolder)) {
    const carrier = layerImagePattern.exec(target)?.[1];
    if (carrier !== undefined) found.add(carrier);
  }
  const carriers: Carrier[] = [];
  const conditions: Condition[] = [];
  for (const number of [...found].sort((a, b) => Number(a) - Number(b))) {
    const fs = join(snapshotsFolder, number, "fs");
    try {
      carriers.push({ number, fs, record: await readCarrierFile(snapshotsFolder, number) });
    } catch (error) {
      conditions.push({
        type: "CarrierUnreadable",
        message: printable(
          `${join(fs, carrierFileName)} does not say which disk belongs there (${causeText(error)}); inject the disk again`,
          1000,
        ),
      });
    }
  }
  return { carriers, conditions };
}

async function layerImageLinks(snapshotsFolder: string): Promise<string[]> {
  const folder = join(layerCacheFolder({ snapshotsFolder }), "sha256");
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.flatMap((name) => linkOf(join(folder, name)) ?? []);
}

/** Waits for the disk instead of going through the thread pool: of thousands of snapshots each costs a few microseconds this way. */
function linkOf(path: string): string | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    // It was removed or replaced since, or is no folder of a snapshot.
    return undefined;
  }
}

async function readCarrierFile(snapshotsFolder: string, number: string): Promise<CarrierFile | undefined> {
  const fs = join(snapshotsFolder, number, "fs");
  if (linkOf(fs) !== undefined) throw new Error(`${fs} is a link itself`);
  let handle: FileHandle;
  try {
    // Neither follow a link nor wait for a pipe.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    handle = await openBeneathMounts(snapshotsFolder, `${number}/fs/${carrierFileName}`, flags);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error("it is not a regular file");
    if (stats.size > maxFileBytes) throw new Error(`it has more than ${maxFileBytes} bytes`);
    return parseCarrierFile(await handle.readFile("utf8"));
  } finally {
    await handle.close();
  }
}

/** Throws `Error` for what is no carrier file. Fields that are not known are left out. */
export function parseCarrierFile(text: string): CarrierFile {
  const { value, problem } = readShape(carrierFile, JSON.parse(text));
  if (problem !== undefined) throw new Error(`${problem.path || "document"}: ${problem.message}`);
  const { identity, ...file } = value;
  return { ...file, ...(identity && { identity }) };
}
