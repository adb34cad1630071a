import type { Descriptor, Digest } from "../../../oci/descriptor.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { Channel } from "./channel.ts";
import { digestOf } from "./digest-field.ts";
import type { CallOptions } from "./grpc-call.ts";
import { nested, nestedList } from "./message.ts";
import { mountMessage } from "./snapshot-messages.ts";
import type { Mount } from "./snapshots.ts";
import { descriptorMessage } from "./well-known.ts";

const apply = {
  name: "containerd.services.diff.v1.Diff/Apply",
  request: { diff: nested(1, descriptorMessage), mounts: nestedList(2, mountMessage) },
  response: { applied: nested(1, descriptorMessage) },
};

/** For the comparison with the published API. */
export const diffMethods = { apply };

/** Unpacks layers. */
export type DiffService = {
  /**
   * Unpacks the blob of a layer, as its media type says, into what `mounts` stand for; the digest of the uncompressed tar. Has no time limit.
   * Throws `not-found` when the namespace has no such blob, `unknown` for whatever goes wrong while it unpacks.
   */
  apply(layer: Descriptor, mounts: readonly Mount[], options?: CallOptions): Promise<Digest>;
};

export function diffService(channel: Channel): DiffService {
  return {
    async apply({ mediaType, digest, size }, mounts, options) {
      for await (const { applied } of channel.stream(apply, { diff: { mediaType, digest, size }, mounts }, options))
        if (applied !== undefined) return digestOf(applied.digest);
      throw new RuntimeError("internal", `containerd answered without what it unpacked of ${digest}`);
    },
  };
}
