import { int32, int64, labels, nested, nestedList, string, strings } from "./message.ts";
import { empty, fieldMask, nestedTimestamp } from "./well-known.ts";

const service = "containerd.services.snapshots.v1.Snapshots";

/** enum Kind, in its order. */
export const snapshotKinds = ["unknown", "view", "active", "committed"] as const;

export const snapshotMessage = {
  name: string(1),
  parent: string(2),
  kind: int32(3),
  createdAt: nestedTimestamp(4),
  labels: labels(6),
};

/** containerd.types.Mount */
export const mountMessage = { type: string(1), source: string(2), target: string(3), options: strings(4) };

const place = { snapshotter: string(1), key: string(2) };

export const snapshotMethods = {
  prepare: {
    name: `${service}/Prepare`,
    request: { ...place, parent: string(3), labels: labels(4) },
    response: { mounts: nestedList(1, mountMessage) },
  },
  commit: {
    name: `${service}/Commit`,
    request: { snapshotter: string(1), name: string(2), key: string(3), labels: labels(4) },
    response: empty,
  },
  mounts: { name: `${service}/Mounts`, request: place, response: { mounts: nestedList(1, mountMessage) } },
  remove: { name: `${service}/Remove`, request: place, response: empty },
  stat: { name: `${service}/Stat`, request: place, response: { info: nested(1, snapshotMessage) } },
  update: {
    name: `${service}/Update`,
    request: { snapshotter: string(1), info: nested(2, snapshotMessage), updateMask: nested(3, fieldMask) },
    response: { info: nested(1, snapshotMessage) },
  },
  list: {
    name: `${service}/List`,
    request: { snapshotter: string(1), filters: strings(2) },
    response: { info: nestedList(1, snapshotMessage) },
  },
  usage: { name: `${service}/Usage`, request: place, response: { size: int64(1), inodes: int64(2) } },
};
