import type { BigIntStats } from "node:fs";
import { readFile } from "node:fs/promises";
import { blockDeviceIdentity } from "../../runtime/host/block-devices.ts";
import { decodeDeviceNumber, formatDeviceNumber } from "../../runtime/host/device-number.ts";
import type { SeenDisk } from "../state/agent-state.ts";

/** What a file is now: whoever changes a byte, the mode or the owner of it changes `ctimeNs`, which cannot be set to a chosen time. */
export function fileStamp(path: string, { dev, ino, size, ctimeNs }: BigIntStats): SeenDisk {
  return {
    path,
    device: formatDeviceNumber(decodeDeviceNumber(dev)),
    inode: `${ino}`,
    sizeBytes: Number(size),
    ctimeNs: unsigned(ctimeNs),
  };
}

/**
 * What a block device is now. Its contents change without a trace while it is attached elsewhere, so this holds for one attachment in one
 * boot: hardware, number, boot, and the sequence number that the kernel gives to each attachment (Linux 5.15; before that the node's inode
 * and time).
 */
export async function deviceStamp(path: string, stats: BigIntStats): Promise<SeenDisk> {
  const number = formatDeviceNumber(decodeDeviceNumber(stats.rdev));
  const folder = `/sys/dev/block/${number}`;
  const [identity, boot, sectors, sequence] = await Promise.all([
    blockDeviceIdentity(path),
    readText("/proc/sys/kernel/random/boot_id"),
    readText(`${folder}/size`),
    diskSequence(folder),
  ]);
  return {
    path,
    device: [number, identity, boot].filter((part) => part !== undefined).join(" "),
    inode: sequence ?? `${stats.ino}`,
    sizeBytes: Number(sectors ?? 0) * 512,
    ctimeNs: sequence === undefined ? unsigned(stats.ctimeNs) : "0",
  };
}

export function sameStamp(a: SeenDisk, b: SeenDisk): boolean {
  return (
    a.path === b.path &&
    a.device === b.device &&
    a.inode === b.inode &&
    a.sizeBytes === b.sizeBytes &&
    a.ctimeNs === b.ctimeNs
  );
}

/** Of a partition that of its disk. */
async function diskSequence(folder: string): Promise<string | undefined> {
  return (await readText(`${folder}/diskseq`)) ?? (await readText(`${folder}/../diskseq`));
}

/** Times before 1970 are possible, and as good as any. */
function unsigned(ctimeNs: bigint): string {
  return `${BigInt.asUintN(64, ctimeNs)}`;
}

async function readText(path: string): Promise<string | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text?.trim() || undefined;
}
