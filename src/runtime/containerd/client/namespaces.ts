import type { Channel } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import type { Labels } from "./label.ts";
import { type Decoded, labels, nested, nestedList, string } from "./message.ts";
import { empty } from "./well-known.ts";

const namespaceMessage = { name: string(1), labels: labels(2) };
const service = "containerd.services.namespaces.v1.Namespaces";

const list = {
  name: `${service}/List`,
  request: {},
  response: { namespaces: nestedList(1, namespaceMessage) },
};
const create = { name: `${service}/Create`, request: { namespace: nested(1, namespaceMessage) }, response: empty };
const remove = { name: `${service}/Delete`, request: { name: string(1) }, response: empty };

/** For the comparison with the published API. */
export const namespaceMethods = { list, create, remove };

export type Namespace = Decoded<typeof namespaceMessage>;

/** containerd's own namespaces: images, content records and snapshots are seen in one of them only. */
export type NamespaceService = {
  list(options?: CallOptions): Promise<readonly Namespace[]>;
  /** Throws `already-exists`. Not needed before use: the first record makes the namespace. */
  create(name: string, labels?: Labels, options?: CallOptions): Promise<void>;
  /** Throws `not-found`, and `failed-precondition` while anything is in it. */
  delete(name: string, options?: CallOptions): Promise<void>;
};

export function namespaceService(channel: Channel): NamespaceService {
  // 1.6 publishes the event of a change in the namespace of the call, and fails without one.
  const within = (name: string) => channel.with({ "containerd-namespace": name });
  return {
    async list(options) {
      return (await channel.call(list, {}, options)).namespaces;
    },
    async create(name, newLabels = {}, options) {
      await within(name).call(create, { namespace: { name, labels: newLabels } }, options);
    },
    async delete(name, options) {
      await within(name).call(remove, { name }, options);
    },
  };
}
