import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { Channel, Method } from "./channel.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type LabelChange, type Labels, labelUpdate } from "./label.ts";
import type { Decoded, Encodable, Schema } from "./message.ts";
import {
  snapshotMethods as methods,
  type mountMessage,
  snapshotKinds,
  type snapshotMessage,
} from "./snapshot-messages.ts";
import { dateOf } from "./well-known.ts";

export type SnapshotKind = "unknown" | "view" | "active" | "committed";

export type Snapshot = {
  /** The key of an active snapshot or view, the name of a committed one. */
  readonly name: string;
  /** Empty where there is none. */
  readonly parent: string;
  readonly kind: SnapshotKind;
  readonly labels: Labels;
  readonly createdAt: Date | undefined;
};

/** As mount(2) takes it. */
export type Mount = Decoded<typeof mountMessage>;

export type SnapshotUsage = { readonly sizeBytes: number; readonly inodes: number };

/** Snapshots of one snapshotter, looked at. */
export type SnapshotReader = {
  /** Throws `not-found`. */
  stat(name: string, options?: CallOptions): Promise<Snapshot>;
  /** All, or those that one of the filters matches, such as `parent==sha256:…`. */
  list(filters?: readonly string[], options?: CallOptions): AsyncGenerator<Snapshot, void, undefined>;
  /** How to mount an active snapshot or view. Throws `not-found`, and `failed-precondition` for a committed one. */
  mounts(key: string, options?: CallOptions): Promise<readonly Mount[]>;
  /** What it takes by itself, without its parents. */
  usage(name: string, options?: CallOptions): Promise<SnapshotUsage>;
};

export type NewSnapshot = CallOptions & {
  readonly parent?: string;
  readonly labels?: Labels;
};

/** Snapshots of one snapshotter, made, changed and removed. */
export type SnapshotWriter = {
  /** A writable snapshot. Throws `already-exists`, and `not-found` when the parent is not there. */
  prepare(key: string, snapshot?: NewSnapshot): Promise<readonly Mount[]>;
  /** Makes the active snapshot `key` a committed one. Throws `already-exists` when `name` is taken; `key` stays then. */
  commit(name: string, key: string, labels?: Labels, options?: CallOptions): Promise<void>;
  /** Throws `not-found`, and `failed-precondition` while it has children. */
  remove(name: string, options?: CallOptions): Promise<void>;
  /** Throws `not-found`. */
  updateLabels(name: string, change: LabelChange, options?: CallOptions): Promise<Snapshot>;
};

/**
 * `snapshotter`: the plugin's id, such as `overlayfs`; all throw `invalid-argument` when there is no such plugin, and `unavailable` when it is
 * another program that does not answer containerd.
 */
export function snapshotReader(containerd: Channel, snapshotter: string): SnapshotReader {
  const channel = new SnapshotterChannel(containerd, snapshotter);
  return {
    async stat(key, options) {
      return requiredSnapshot((await channel.call(methods.stat, { snapshotter, key }, options)).info, key);
    },
    async *list(filters = [], options) {
      for await (const { info } of channel.stream(methods.list, { snapshotter, filters }, options)) {
        yield* info.map(snapshotOf);
      }
    },
    async mounts(key, options) {
      return (await channel.call(methods.mounts, { snapshotter, key }, options)).mounts;
    },
    async usage(key, options) {
      const { size, inodes } = await channel.call(methods.usage, { snapshotter, key }, options);
      return { sizeBytes: size, inodes };
    },
  };
}

/** As `snapshotReader`. */
export function snapshotWriter(containerd: Channel, snapshotter: string): SnapshotWriter {
  const channel = new SnapshotterChannel(containerd, snapshotter);
  return {
    async prepare(key, { parent = "", labels = {}, ...options } = {}) {
      return (await channel.call(methods.prepare, { snapshotter, key, parent, labels }, options)).mounts;
    },
    async commit(name, key, labels = {}, options) {
      await channel.call(methods.commit, { snapshotter, name, key, labels }, options);
    },
    async remove(key, options) {
      await channel.call(methods.remove, { snapshotter, key }, options);
    },
    async updateLabels(name, change, options) {
      const { labels, paths } = labelUpdate(change);
      const request = { snapshotter, info: { name, labels }, updateMask: { paths } };
      return requiredSnapshot((await channel.call(methods.update, request, options)).info, name);
    },
  };
}

function requiredSnapshot(info: Decoded<typeof snapshotMessage> | undefined, name: string): Snapshot {
  if (info === undefined) throw new RuntimeError("internal", `containerd answered without the snapshot ${name}`);
  return snapshotOf(info);
}

function snapshotOf({ name, parent, kind, labels, createdAt }: Decoded<typeof snapshotMessage>): Snapshot {
  return { name, parent, kind: snapshotKinds[kind] ?? "unknown", labels, createdAt: dateOf(createdAt) };
}

/** What grpc-go says of a connection that is not there or broke (`internal/transport/http2_client.go`): here of the one behind containerd. */
const lostProgram =
  /\bconnection (?:error: desc = |closed\b|is (?:closing|draining)\b)|\btransport is closing\b|\berror reading (?:from )?server\b|\breceived prior goaway\b/;

/** Calls that containerd hands on to a snapshotter, which may be another program (its `proxy_plugins`). */
class SnapshotterChannel {
  readonly #channel: Channel;
  readonly #snapshotter: string;

  constructor(channel: Channel, snapshotter: string) {
    this.#channel = channel;
    this.#snapshotter = snapshotter;
  }

  async call<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    message: Encodable<Request>,
    options?: CallOptions,
  ): Promise<Decoded<Response>> {
    try {
      return await this.#channel.call(method, message, options);
    } catch (error) {
      throw this.#named(error);
    }
  }

  async *stream<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    message: Encodable<Request>,
    options?: CallOptions,
  ): AsyncGenerator<Decoded<Response>, void, undefined> {
    try {
      yield* this.#channel.stream(method, message, options);
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** containerd gives the code of such an error on, or `unknown`, depending on its version. */
  #named(error: unknown): unknown {
    if (!isRuntimeError(error, "unknown", "unavailable") || !lostProgram.test(error.message)) return error;
    return new RuntimeError(
      "unavailable",
      `the snapshotter "${this.#snapshotter}" does not answer containerd: start its program (${error.message})`,
      { cause: error },
    );
  }
}
