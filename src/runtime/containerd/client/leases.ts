import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import type { Labels } from "./label.ts";
import { bool, type Decoded, labels, nested, nestedList, string, strings } from "./message.ts";
import { dateOf, empty, nestedTimestamp } from "./well-known.ts";

const service = "containerd.services.leases.v1.Leases";
const leaseMessage = { id: string(1), createdAt: nestedTimestamp(2), labels: labels(3) };
const resourceMessage = { id: string(1), type: string(2) };

const create = {
  name: `${service}/Create`,
  request: { id: string(1), labels: labels(3) },
  response: { lease: nested(1, leaseMessage) },
};
const remove = { name: `${service}/Delete`, request: { id: string(1), sync: bool(2) }, response: empty };
const list = {
  name: `${service}/List`,
  request: { filters: strings(1) },
  response: { leases: nestedList(1, leaseMessage) },
};
const addResource = {
  name: `${service}/AddResource`,
  request: { id: string(1), resource: nested(2, resourceMessage) },
  response: empty,
};
const listResources = {
  name: `${service}/ListResources`,
  request: { id: string(1) },
  response: { resources: nestedList(1, resourceMessage) },
};

/** For the comparison with the published API. */
export const leaseMethods = { create, remove, list, addResource, listResources };

export type Lease = {
  readonly id: string;
  readonly labels: Labels;
  readonly createdAt: Date | undefined;
};

/** What a lease holds: type `content` with a digest, `ingests` with a ref, `snapshots/overlayfs` with a key or name. */
export type LeaseResource = Decoded<typeof resourceMessage>;

export type LeaseDeletion = CallOptions & {
  /** Answers when the garbage collection that follows is over. Default: false. */
  readonly sync?: boolean;
};

/** Leases keep what nothing else refers to from garbage collection. */
export type LeaseService = {
  /** Throws `already-exists`. The label `containerd.io/gc.expire` (RFC 3339) ends a lease by the daemon's clock. */
  create(id: string, labels?: Labels, options?: CallOptions): Promise<Lease>;
  /** Throws `not-found`. */
  delete(id: string, options?: LeaseDeletion): Promise<void>;
  /** All, or those that one of the filters matches, such as `labels."nodewarm.io/disk"==abc`. */
  list(filters?: readonly string[], options?: CallOptions): Promise<Lease[]>;
};

export type LeaseResourceService = {
  /** Throws `not-found` when there is no such lease. The resource need not exist. */
  add(leaseID: string, resource: LeaseResource, options?: CallOptions): Promise<void>;
  list(leaseID: string, options?: CallOptions): Promise<readonly LeaseResource[]>;
};

export function leaseService(channel: Channel): LeaseService {
  return {
    async create(id, newLabels = {}, options) {
      const { lease } = await channel.call(create, { id, labels: newLabels }, options);
      return lease === undefined ? { id, labels: newLabels, createdAt: undefined } : leaseOf(lease);
    },
    async delete(id, { sync = false, ...options } = {}) {
      await channel.call(remove, { id, sync }, options);
    },
    async list(filters = [], options) {
      return (await channel.call(list, { filters }, options)).leases.map(leaseOf);
    },
  };
}

export function leaseResourceService(channel: Channel): LeaseResourceService {
  return {
    async add(id, resource, options) {
      await channel.call(addResource, { id, resource }, options);
    },
    async list(id, options) {
      return (await channel.call(listResources, { id }, options)).resources;
    },
  };
}

function leaseOf(lease: Decoded<typeof leaseMessage>): Lease {
  return { id: lease.id, labels: lease.labels, createdAt: dateOf(lease.createdAt) };
}
