import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { Channel } from "./channel.ts";
import { type infoMessage, contentMethods as methods } from "./content-messages.ts";
import { digestOf } from "./digest-field.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type LabelChange, type Labels, labelUpdate } from "./label.ts";
import type { Decoded } from "./message.ts";
import { dateOf } from "./well-known.ts";

/** A blob as the records of one namespace know it. */
export type ContentInfo = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly labels: Labels;
  readonly createdAt: Date | undefined;
};

export type ContentRange = CallOptions & {
  /** Default: 0. */
  readonly offset?: number;
  /** Default: to the end. */
  readonly length?: number;
};

/** The blobs of a namespace. */
export type ContentReader = {
  /** Throws `not-found`. */
  info(digest: Digest, options?: CallOptions): Promise<ContentInfo>;
  /**
   * All, or those that one of the filters matches, such as `labels."containerd.io/distribution.source.docker.io"`. Blobs with
   * digests other than SHA-256 are left out.
   */
  list(filters?: readonly string[], options?: CallOptions): AsyncGenerator<ContentInfo, void, undefined>;
  /** The bytes in pieces. Throws `not-found`. */
  read(digest: Digest, options?: ContentRange): AsyncGenerator<Uint8Array, void, undefined>;
};

/** Changes of blobs that are there. */
export type ContentManager = {
  /** Throws `not-found`. */
  updateLabels(digest: Digest, change: LabelChange, options?: CallOptions): Promise<ContentInfo>;
  /** Removes the record; the next garbage collection removes the file. Throws `not-found`. */
  delete(digest: Digest, options?: CallOptions): Promise<void>;
};

export function contentReader(channel: Channel): ContentReader {
  return {
    async info(digest, options) {
      return requiredInfo((await channel.call(methods.info, { digest }, options)).info, digest);
    },
    async *list(filters = [], options) {
      for await (const { info } of channel.stream(methods.list, { filters }, options)) {
        yield* info.filter(({ digest }) => isDigest(digest)).map(infoOf);
      }
    },
    async *read(digest, { offset = 0, length = 0, ...options } = {}) {
      const answers = channel.stream(methods.read, { digest, offset, size: length }, options);
      for await (const { data } of answers) yield data;
    },
  };
}

export function contentManager(channel: Channel): ContentManager {
  return {
    async updateLabels(digest, change, options) {
      const { labels, paths } = labelUpdate(change);
      const request = { info: { digest, labels }, updateMask: { paths } };
      return requiredInfo((await channel.call(methods.update, request, options)).info, digest);
    },
    async delete(digest, options) {
      await channel.call(methods.delete, { digest }, options);
    },
  };
}

function requiredInfo(info: Decoded<typeof infoMessage> | undefined, digest: Digest): ContentInfo {
  if (info === undefined) throw new RuntimeError("internal", `containerd answered without what it knows of ${digest}`);
  return infoOf(info);
}

function infoOf({ digest, size, labels, createdAt }: Decoded<typeof infoMessage>): ContentInfo {
  return { digest: digestOf(digest), sizeBytes: size, labels, createdAt: dateOf(createdAt) };
}
