import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { indexName } from "../../../disk/index-document.ts";
import { blockDeviceIdentity } from "../../host/block-devices.ts";
import { bindDisk, lockDisk } from "../../host/disk-lock.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { detachStaleMount } from "../../host/stale-mount.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import type { OpenDisk } from "../../runtime.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { Labels } from "../client/label.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, emptyOf, fsPath, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import {
  type CarrierFile,
  carrierFileName,
  carrierName,
  emptyName,
  gcRootLabel,
  keyPrefix,
  label,
  type SnapshotRole,
  sharedOwner,
} from "../ownership.ts";
import type { AtStep } from "./job.ts";
import { snapshotNumber } from "./linked-snapshots.ts";
import type { Meter } from "./meter.ts";
import { refuseUnmappable } from "./user-namespaces.ts";

type Place = {
  readonly node: ContainerdNode;
  readonly leased: NamespaceClient;
  readonly state: OwnedState;
  readonly meter: Meter;
  readonly atStep: AtStep;
};

/** Value of `gcRootLabel`: any will do. */
const gcRoot = "nodewarm";

/** The empty snapshot that is the parent of all links, made where it is missing. */
export async function ensureEmpty(place: Place): Promise<void> {
  const { node, state, meter, atStep } = place;
  if (emptyOf(state) !== undefined) {
    // An ejection takes the label off where copied trees stand on it.
    if (state.snapshots.get(emptyName)?.labels[gcRootLabel] !== undefined) return;
    atStep("label empty");
    meter.count("label");
    await node.snapshotWriter.updateLabels(emptyName, { [gcRootLabel]: gcRoot });
    return;
  }
  await makeEmptySnapshot(place, emptyName, "empty", { [label.disk]: sharedOwner }, async () => {});
}

/**
 * The snapshot of a disk with the disk mounted on it, both made where they are missing. What to mount there is written into its folder,
 * under the mount, for a boot without containerd.
 */
export async function ensureCarrier(place: Place, openDisk: OpenDisk, signal: AbortSignal): Promise<OwnedSnapshot> {
  const { node, state, atStep } = place;
  const { source } = openDisk;
  const identity = await blockDeviceIdentity(source.path);
  const file: CarrierFile = {
    formatVersion: "1",
    id: source.id,
    line: source.line,
    sequence: source.sequence,
    source: resolve(source.path),
    ...(identity && { identity }),
  };
  const labels = {
    [label.disk]: source.id,
    [label.line]: source.line,
    [label.sequence]: String(source.sequence),
  };
  const mountPoint = diskMountPoint(source.id);
  await using _ = await lockDisk(node.local, source.id, signal);
  atStep("mount disk");
  // Only root passes: the trees of a disk hold setuid programs. Containers come through the carrier.
  await mkdir(node.local(mountPoint), { recursive: true, mode: 0o700 });
  await detachStaleMount(node.mounts, source.id, node.local);
  const { isNew } = await node.mounts.mountDisk(source, mountPoint);
  try {
    await requireMounted(node, mountPoint, source);
    await refuseUnmappable(node, mountPoint);
    const known = carrierOf(state, source.id);
    const carrier =
      known ??
      (await makeEmptySnapshot(place, carrierName(source.id), "carrier", labels, (fs) => writeCarrierFile(fs, file)));
    atStep("mount carrier");
    await mountOnCarrier(node, carrier, file);
    return carrier;
  } catch (error) {
    // Without a carrier no ejection would find it.
    if (isNew) await node.mounts.unmount(mountPoint).catch(() => {});
    throw error;
  }
}

/** The id stands in the second line of the index. */
const indexHeadBytes = 256;

/**
 * What is mounted must be what was verified: a file that was written over while an older disk was mounted from it still shows that one. Throws
 * `RuntimeError` `failed-precondition`.
 */
async function requireMounted(
  node: ContainerdNode,
  mountPoint: string,
  { id, path }: OpenDisk["source"],
): Promise<void> {
  const handle = await open(node.local(`${mountPoint}/${indexName}`), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const head = Buffer.alloc(indexHeadBytes);
    await handle.read(head, 0, indexHeadBytes, 0);
    if (head.includes(`"id": "${id}"`)) return;
  } finally {
    await handle.close();
  }
  throw new RuntimeError(
    "failed-precondition",
    `${path} was verified as disk ${id}, but another one is mounted from it: was the file changed in place? Put new disks there under another name, or by rename, and inject again`,
  );
}

async function mountOnCarrier(node: ContainerdNode, carrier: OwnedSnapshot, file: CarrierFile): Promise<void> {
  const fs = fsPath(node, carrier.number);
  const table = await node.mounts.table();
  if (table.at(fs) === undefined) {
    // The file under the mount tells the next boot where to look, and the disk may have moved since.
    const local = node.local(fs);
    await mkdir(local, { recursive: true, mode: 0o755 });
    const before = await readFile(`${local}/${carrierFileName}`, "utf8").catch(() => "");
    if (before !== carrierText(file)) {
      await writeCarrierFile(local, file);
      await syncFilesystem(local);
    }
  }
  await bindDisk(node.mounts, file.id, fs);
}

/** A committed snapshot without parent and without files of a disk, which no collection takes. */
async function makeEmptySnapshot(
  { node, leased, meter, atStep }: Place,
  name: string,
  role: SnapshotRole,
  labels: Labels,
  fill: (fs: string) => Promise<void>,
): Promise<OwnedSnapshot> {
  const writer = leased.snapshotWriter(node.snapshotter);
  const key = `${keyPrefix}${randomUUID()}`;
  const own: Labels = { [label.role]: role, ...labels };
  atStep(`prepare ${role}`);
  meter.count("prepare");
  const number = snapshotNumber(await writer.prepare(key, { labels: own }));
  const fs = node.local(fsPath(node, number));
  await fill(fs);
  await syncFilesystem(fs);
  atStep(`commit ${role}`);
  meter.count("commit");
  try {
    await writer.commit(name, key, { ...own, [label.number]: number, [gcRootLabel]: gcRoot });
  } catch (error) {
    if (!isRuntimeError(error, "already-exists")) throw error;
    await writer.remove(key);
    throw new RuntimeError(
      "failed-precondition",
      `containerd has a snapshot "${name}" that Nodewarm did not make; remove it (ctr -n ${node.namespace} snapshots rm ${name})`,
      { cause: error },
    );
  }
  return { name, parent: "", role, disk: own[label.disk] ?? "", number, tree: "" };
}

function carrierText(file: CarrierFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

async function writeCarrierFile(fs: string, file: CarrierFile): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const handle = await open(`${fs}/${carrierFileName}`, flags, 0o644);
  try {
    await handle.writeFile(carrierText(file));
  } finally {
    await handle.close();
  }
}
