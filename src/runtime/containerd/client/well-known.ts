import { type Decoded, int32, int64, labels, nested, string, strings } from "./message.ts";

/** google.protobuf.Empty */
export const empty = {};

/** google.protobuf.Timestamp */
export const timestamp = { seconds: int64(1), nanos: int32(2) };

/** google.protobuf.FieldMask */
export const fieldMask = { paths: strings(1) };

/** google.rpc.Status without details. */
export const rpcStatus = { code: int32(1), message: string(2) };

/** containerd.types.Descriptor */
export const descriptorMessage = { mediaType: string(1), digest: string(2), size: int64(3), annotations: labels(5) };

/** containerd.types.Platform */
export const platformMessage = { os: string(1), architecture: string(2), variant: string(3) };

/** Timestamps of records, as most of them have a pair. */
export const nestedTimestamp = (number: number) => nested(number, timestamp);

/** To the millisecond. `undefined` where the runtime gives none. */
export function dateOf(time: Decoded<typeof timestamp> | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time.seconds * 1000 + Math.floor(time.nanos / 1e6));
}
