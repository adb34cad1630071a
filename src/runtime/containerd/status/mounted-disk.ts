import { readFile, stat } from "node:fs/promises";
import { type DiskIndex, parseDiskIndex } from "../../../disk/reader/disk-index.ts";
import { causeText } from "../../../oci/oci-error.ts";
import { readBeneathMounts } from "../../host/beneath-mounts.ts";
import { blockDeviceIdentity, isDeviceGone } from "../../host/block-devices.ts";
import { decodeDeviceNumber, formatDeviceNumber, sameDevice } from "../../host/device-number.ts";
import { readFresh } from "../../host/fresh-read.ts";
import { loopBackingFile } from "../../host/loop-device.ts";
import type { MountEntry, MountTable } from "../../host/mount-table.ts";
import type { Condition } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, fsPath, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import { type CarrierFile, carrierFileName, label } from "../ownership.ts";

/** A disk as it is mounted on its carrier, or not. */
export type MountedState = {
  readonly isMounted: boolean;
  readonly line: string;
  readonly sequence: number;
  /** Path of the file or device that it was injected from; empty where nothing says it. */
  readonly source: string;
  /** `undefined` while it cannot be read. */
  readonly index: DiskIndex | undefined;
  readonly conditions: readonly Condition[];
};

/** `table`: the mounts that containerd sees. */
export async function readMount(
  node: ContainerdNode,
  state: OwnedState,
  id: string,
  table: MountTable,
): Promise<MountedState> {
  const carrier = carrierOf(state, id);
  const labels = state.snapshots.get(carrier?.name ?? "")?.labels ?? {};
  const known = { line: labels[label.line] ?? "", sequence: Number(labels[label.sequence] ?? 0) };
  const nothing = { ...known, isMounted: false, source: "", index: undefined };
  if (carrier === undefined) {
    const message = "the snapshot that the disk is mounted on is gone; inject the disk again";
    return { ...nothing, conditions: [{ type: "CarrierMissing", message }] };
  }
  const fs = fsPath(node, carrier.number);
  const entry = await mountAt(node, fs, table);
  const file = await carrierFile(node, carrier);
  if (entry === undefined) {
    const source = file?.source ?? "";
    const from = source === "" ? "" : ` (it was injected from ${source})`;
    const message = `the disk is not mounted, and containers of its images cannot be started; attach it, then run "nodewarm mount --all"${from}`;
    return { ...nothing, source, conditions: [{ type: "NotMounted", message }] };
  }
  // What the kernel remembers of a device that was detached looks sound.
  const isGone = await isDeviceGone(entry.device);
  const index = isGone ? new Error("it was detached") : await readIndex(node.local(`${fs}/nodewarm.json`));
  const conditions: Condition[] = [];
  if (index instanceof Error)
    conditions.push({
      type: "Unreadable",
      message: `the disk is mounted and cannot be read (${causeText(index)}): its device is gone or broken; attach it again, then run "nodewarm mount --all"`,
    });
  else if (index.id !== id)
    conditions.push({
      type: "WrongDisk",
      message: `another disk is mounted in its place: ${index.id}; attach the right one and run "nodewarm mount --all"`,
    });
  // A device that was attached again may have another name, and is found by what its hardware says.
  const isSameDevice = file?.identity !== undefined && file.identity === (await blockDeviceIdentity(entry.source));
  const source = isSameDevice ? entry.source : (file?.source ?? (await sourceOfMount(entry)));
  if (conditions.length === 0 && !(await shows(entry, source)))
    conditions.push({
      type: "SourceMissing",
      message: `${source} is gone or holds something else now: the disk stays usable while it is mounted, and cannot be mounted again after a reboot; put it back, or inject the disk from where it is`,
    });
  const readable = index instanceof Error ? undefined : index;
  return { ...known, isMounted: true, source, index: readable, conditions };
}

/** By its device: the mount table has no symbolic links in its paths, and the folders of containerd may. */
async function mountAt(node: ContainerdNode, fs: string, table: MountTable): Promise<MountEntry | undefined> {
  const [folder, around] = await Promise.all(
    [fs, node.snapshotsFolder].map((path) => stat(node.local(path)).catch(() => undefined)),
  );
  // A device that fails may refuse even this.
  if (folder === undefined || around === undefined) return table.at(fs);
  if (folder.dev === around.dev) return undefined;
  return table.ofDevice(decodeDeviceNumber(folder.dev)).find(({ type }) => type === "erofs") ?? table.at(fs);
}

/** From the device: what the kernel remembers says nothing of whether containers can read it. */
async function readIndex(path: string): Promise<DiskIndex | Error> {
  try {
    return parseDiskIndex(await readFresh(path), "the disk");
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Where the mount comes from, if the carrier does not say. */
async function sourceOfMount({ device, source }: MountEntry): Promise<string> {
  const file = `/sys/dev/block/${formatDeviceNumber(device)}/loop/backing_file`;
  const backing = await readFile(file, "utf8").catch(() => "");
  return backing.trimEnd() || source;
}

/** Whether a path still stands for what is mounted: the same device, or the file behind the loop device. */
async function shows({ device, source }: MountEntry, path: string): Promise<boolean> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return false;
  if (stats.isBlockDevice()) return sameDevice(decodeDeviceNumber(stats.rdev), device);
  const backing = await loopBackingFile(source).catch(() => undefined);
  return backing === undefined || (backing.dev === stats.dev && backing.ino === stats.ino);
}

/** What was written beneath the mount; `undefined` where it cannot be read. */
async function carrierFile(node: ContainerdNode, { number }: OwnedSnapshot): Promise<CarrierFile | undefined> {
  try {
    const path = `${number}/fs/${carrierFileName}`;
    const text = await readBeneathMounts(node.snapshotsFolder, path, node.mountNamespace);
    const { parseCarrierFile } = await import("../boot/carriers.ts");
    return parseCarrierFile(text.toString());
  } catch {
    return undefined;
  }
}
