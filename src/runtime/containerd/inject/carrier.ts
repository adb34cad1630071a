import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { blockDeviceIdentity } from "../../host/block-devices.ts";
import { bindDisk } from "../../host/disk-lock.ts";
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
import { prepareSnapshot } from "../prepare-snapshot.ts";
import type { AtStep } from "./job.ts";
import { snapshotNumber } from "./linked-snapshots.ts";
import type { Meter } from "./meter.ts";

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
  const prepared = await prepareEmptySnapshot(place, emptyName, "empty", { [label.disk]: sharedOwner }, async () => {});
  await prepared.commit();
}

/** A snapshot that is one of ours once it is committed. */
export type PreparedSnapshot = {
  readonly snapshot: OwnedSnapshot;
  commit(): Promise<void>;
  /** In place of the commit. */
  abandon(): Promise<void>;
};

/** The snapshot of a disk, prepared where it is missing; else there is nothing to commit. */
export async function prepareCarrier(place: Place, file: CarrierFile): Promise<PreparedSnapshot> {
  const known = carrierOf(place.state, file.id);
  if (known !== undefined) return { snapshot: known, commit: async () => {}, abandon: async () => {} };
  const labels = { [label.disk]: file.id, [label.line]: file.line, [label.sequence]: String(file.sequence) };
  const fill = (fs: string) => writeCarrierFile(fs, file);
  return prepareEmptySnapshot(place, carrierName(file.id), "carrier", labels, fill);
}

/** What is to be mounted on the carrier of a disk at a boot without containerd. */
export async function carrierFile({ source }: Pick<OpenDisk, "source">): Promise<CarrierFile> {
  const identity = await blockDeviceIdentity(source.path);
  return {
    formatVersion: "1",
    id: source.id,
    line: source.line,
    sequence: source.sequence,
    source: resolve(source.path),
    ...(identity && { identity }),
  };
}

/** Shows the mounted disk on its carrier, whose folder says under the mount what is to be mounted there. */
export async function showOnCarrier(
  { node, atStep }: Pick<Place, "node" | "atStep">,
  carrier: OwnedSnapshot,
  file: CarrierFile,
): Promise<void> {
  atStep("mount carrier");
  const fs = fsPath(node, carrier.number);
  if ((await node.mounts.table()).at(fs) === undefined) {
    // The file under the mount tells the next boot where to look. The disk may have moved since, and containerd's EROFS snapshotter keeps no
    // files of what is committed.
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

/** A snapshot without parent and without files of a disk, which no collection takes once it is committed. */
async function prepareEmptySnapshot(
  { node, leased, meter, atStep }: Place,
  name: string,
  role: SnapshotRole,
  labels: Labels,
  fill: (fs: string) => Promise<void>,
): Promise<PreparedSnapshot> {
  const writer = leased.snapshotWriter(node.snapshotter);
  const key = `${keyPrefix}${randomUUID()}`;
  const own: Labels = { [label.role]: role, ...labels };
  atStep(`prepare ${role}`);
  meter.count("prepare");
  const number = snapshotNumber(await prepareSnapshot(node, writer, key, { labels: own }));
  const fs = node.local(fsPath(node, number));
  await fill(fs);
  await syncFilesystem(fs);
  return {
    snapshot: { name, parent: "", role, disk: own[label.disk] ?? "", number, tree: "" },
    async commit() {
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
    },
    async abandon() {
      meter.count("remove");
      await writer.remove(key);
    },
  };
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
