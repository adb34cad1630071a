import { readFile, stat } from "node:fs/promises";
import { type DiskIndex, parseDiskIndex } from "../../../disk/reader/disk-index.ts";
import { causeText } from "../../../oci/oci-error.ts";
import { decodeDeviceNumber, formatDeviceNumber } from "../../host/device-number.ts";
import type { MountEntry, MountTable } from "../../host/mount-table.ts";
import type { Condition } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, fsPath, type OwnedState } from "../owned-state.ts";
import { carrierFileName, label } from "../ownership.ts";

/** A disk as it is mounted on its carrier, or not. */
export type MountedState = {
  readonly isMounted: boolean;
  readonly line: string;
  readonly sequence: number;
  /** Path of the file or device; empty where nothing says it. */
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
  const source = entry === undefined ? await sourceOfCarrier(node.local(fs)) : await sourceOfMount(entry);
  if (entry === undefined) {
    const from = source === "" ? "" : ` (it was injected from ${source})`;
    const message = `the disk is not mounted, and containers of its images cannot be started; attach it, then run "nodewarm mount --all"${from}`;
    return { ...nothing, source, conditions: [{ type: "NotMounted", message }] };
  }
  const index = await readIndex(node.local(`${fs}/nodewarm.json`));
  const conditions: Condition[] = [];
  if (index instanceof Error)
    conditions.push({
      type: "Unreadable",
      message: `the disk is mounted and cannot be read (${causeText(index)}): its device is gone or broken; attach it again, unmount ${fs} and run "nodewarm mount --all"`,
    });
  else if (index.id !== id)
    conditions.push({
      type: "WrongDisk",
      message: `another disk is mounted in its place: ${index.id}; unmount ${fs} and run "nodewarm mount --all"`,
    });
  else conditions.push(...(await sourceConditions(source)));
  const readable = index instanceof Error ? undefined : index;
  return { ...known, isMounted: true, source: source.replace(deleted, ""), index: readable, conditions };
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

async function readIndex(path: string): Promise<DiskIndex | Error> {
  try {
    return parseDiskIndex(await readFile(path), "the disk");
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** How the kernel marks the name of an open file that was removed. */
const deleted = / \(deleted\)$/;

async function sourceOfMount({ device, source }: MountEntry): Promise<string> {
  const file = `/sys/dev/block/${formatDeviceNumber(device)}/loop/backing_file`;
  const backing = await readFile(file, "utf8").catch(() => "");
  return backing.trimEnd() || source;
}

async function sourceConditions(source: string): Promise<Condition[]> {
  const isThere = await stat(source.replace(deleted, "")).then(
    () => true,
    () => false,
  );
  if (isThere && !deleted.test(source)) return [];
  const path = source.replace(deleted, "");
  return [
    {
      type: "SourceMissing",
      message: `${path} is gone or another file now: the disk stays usable while it is mounted, but cannot be mounted after a reboot; put it back, or inject it from another place`,
    },
  ];
}

/** What was written under the mount, seen while nothing is mounted. */
async function sourceOfCarrier(fs: string): Promise<string> {
  const text = await readFile(`${fs}/${carrierFileName}`, "utf8").catch(() => undefined);
  if (text === undefined) return "";
  const { parseCarrierFile } = await import("../boot/carriers.ts");
  try {
    return parseCarrierFile(text).source;
  } catch {
    return "";
  }
}
