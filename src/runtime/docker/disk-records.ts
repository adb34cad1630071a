import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { array, naturalNumber, object, optional, readShape, string, stringThat } from "../../oci/json-shape.ts";
import type { DeviceNumber } from "../host/device-number.ts";
import { syncDirectory } from "../host/sync-filesystem.ts";
import { ownFolder } from "./daemon-lock.ts";
import { parseJson, readIfExists, replaceFile } from "./durable-file.ts";

/** A disk that was injected, or was ejected and is not released yet. Says enough to find and mount it without the daemon. */
export type DiskRecord = {
  readonly formatVersion: "1";
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  /** Absolute path of the file or block device. */
  readonly source: string;
  /** Which hardware it was, where it says so (`blockDeviceIdentity`). */
  readonly identity?: string;
  /** Containers that had files of this disk open when its trees were taken from elsewhere, with the time of their start. */
  readonly leftBehind: readonly { readonly container: string; readonly name: string; readonly startedAt: string }[];
  /** Set once it is ejected, while something still holds its device: `boot` tells whether that can be so still, `file` whether it is still its loop device. */
  readonly ejected?: DeviceNumber & { readonly file?: string | undefined; readonly boot: string };
};

const record = object({
  formatVersion: stringThat((text): text is "1" => text === "1", "1"),
  id: stringThat((text): text is string => /^[0-9a-f]{64}$/.test(text), "64 hex digits"),
  line: string,
  sequence: naturalNumber,
  source: stringThat((text): text is string => text.startsWith("/"), "an absolute path"),
  identity: optional(string),
  leftBehind: array(object({ container: string, name: string, startedAt: string })),
  ejected: optional(object({ major: naturalNumber, minor: naturalNumber, file: optional(string), boot: string })),
});

/** The disks of a data root, by id. Files that are no records are left out. */
export async function readDiskRecords(dataRoot: string): Promise<Map<string, DiskRecord>> {
  const folder = recordFolder(dataRoot);
  const records = new Map<string, DiskRecord>();
  for (const name of (await readdir(folder).catch(() => [])).sort()) {
    const text = name.endsWith(".json") ? await readIfExists(join(folder, name)) : undefined;
    const { value } = readShape(record, parseJson(text ?? ""));
    if (value === undefined || name !== `${value.id}.json`) continue;
    const { identity, ejected, ...rest } = value;
    records.set(value.id, { ...rest, ...(identity && { identity }), ...(ejected && { ejected }) });
  }
  return records;
}

/** Durable when it returns. */
export async function writeDiskRecord(dataRoot: string, disk: DiskRecord): Promise<void> {
  const folder = recordFolder(dataRoot);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${disk.id}.json`);
  const text = `${JSON.stringify(disk, null, 2)}\n`;
  if ((await readIfExists(path)) === text) return;
  await replaceFile(path, text);
  await syncDirectory(folder);
}

export async function removeDiskRecord(dataRoot: string, id: string): Promise<void> {
  const folder = recordFolder(dataRoot);
  await rm(join(folder, `${id}.json`), { force: true });
  await syncDirectory(folder);
}

function recordFolder(dataRoot: string): string {
  return join(dataRoot, ownFolder, "disks");
}
