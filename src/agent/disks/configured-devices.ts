import { type BigIntStats, constants, readFileSync, statSync } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { blockDeviceSerials, listBlockDevices } from "../../runtime/host/block-devices.ts";
import { type DeviceNumber, decodeDeviceNumber, formatDeviceNumber } from "../../runtime/host/device-number.ts";

const byIdFolder = "/dev/disk/by-id";

export type ConfiguredDevice = { readonly path: string; readonly device: DeviceNumber; readonly stats: BigIntStats };

/**
 * The block devices that patterns name, each once, by path. A pattern with a `/` is a path below `/dev`; any other one a name in
 * `/dev/disk/by-id`, or a serial number or WWN. `*` stands for any characters but `/`, `?` for one. What is not there is left out; labels
 * and UUIDs of file systems are never looked at, because whoever writes to a device chooses them.
 */
export async function configuredDevices(patterns: readonly string[]): Promise<readonly ConfiguredDevice[]> {
  const paths = new Set<string>();
  for (const pattern of patterns) {
    const found = pattern.includes("/") ? await matchPath(pattern) : await matchName(pattern);
    for (const path of found) paths.add(path);
  }
  const devices = new Map<string, ConfiguredDevice>();
  for (const path of [...paths].sort()) {
    const real = await realpath(path).catch(() => undefined);
    const stats = real === undefined ? undefined : await stat(real, { bigint: true }).catch(() => undefined);
    if (real === undefined || stats === undefined) continue;
    if ((Number(stats.mode) & constants.S_IFMT) !== constants.S_IFBLK) continue;
    const device = decodeDeviceNumber(stats.rdev);
    const number = formatDeviceNumber(device);
    if (!devices.has(number)) devices.set(number, { path: real, device, stats });
  }
  return [...devices.values()];
}

/**
 * Another text whenever `configuredDevices` may find others: the number of kernel events about devices so far, and the times of the folders
 * with their names, which udev makes after the event. Some microseconds in the calling thread, as none of these files can hang, and asking
 * the pool would wake up two threads for each.
 */
export function deviceNews(patterns: readonly string[]): string {
  const folders = patterns.filter((pattern) => pattern.startsWith("/dev/")).map((pattern) => dirname(pattern));
  const times = [byIdFolder, ...new Set(folders)].map((folder) =>
    String(statSync(folder, { bigint: true, throwIfNoEntry: false })?.mtimeNs),
  );
  return [eventCount(), ...times].join(" ");
}

function eventCount(): string {
  try {
    return readFileSync("/sys/kernel/uevent_seqnum", "utf8").trim();
  } catch {
    // Without sysfs there are no devices to be found either.
    return "";
  }
}

async function matchPath(pattern: string): Promise<readonly string[]> {
  if (!pattern.startsWith("/dev/")) return [];
  if (!/[*?]/.test(pattern)) return [pattern];
  const folder = dirname(pattern);
  return namesThatMatch(folder, basename(pattern));
}

async function matchName(pattern: string): Promise<readonly string[]> {
  const byId = await namesThatMatch(byIdFolder, pattern);
  if (byId.length > 0) return byId;
  const isMatch = matcher(pattern);
  const found: string[] = [];
  for (const { path } of await listBlockDevices()) {
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) continue;
    if ((await blockDeviceSerials(decodeDeviceNumber(stats.rdev))).some(isMatch)) found.push(path);
  }
  return found;
}

async function namesThatMatch(folder: string, pattern: string): Promise<readonly string[]> {
  const isMatch = matcher(pattern);
  return (await readdir(folder).catch(() => [])).filter(isMatch).map((name) => `${folder}/${name}`);
}

/** Runs in time that is linear in text × pattern, whatever the pattern. */
export function matcher(pattern: string): (text: string) => boolean {
  return (text) => {
    let reached = new Set([0]);
    const skipStars = (from: number, into: Set<number>) => {
      let at = from;
      into.add(at);
      while (pattern[at] === "*") into.add(++at);
    };
    const next = (character: string | undefined) => {
      const places = new Set<number>();
      for (const at of reached) {
        if (character === undefined) skipStars(at, places);
        else if (pattern[at] === "*" && character !== "/") places.add(at);
        else if (pattern[at] === character || (pattern[at] === "?" && character !== "/")) skipStars(at + 1, places);
      }
      return places;
    };
    reached = next(undefined);
    for (const character of text) {
      const places = next(character);
      reached = new Set();
      for (const at of places) skipStars(at, reached);
    }
    return reached.has(pattern.length);
  };
}
