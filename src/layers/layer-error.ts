import { CodedError } from "../oci/coded-error.ts";

export type LayerErrorCode =
  /** The compressed stream is damaged, cut short, or followed by other bytes. */
  | "corrupt-compression"
  /** The compressed bytes are not those of the descriptor. */
  | "digest-mismatch"
  | "size-mismatch"
  /** The uncompressed bytes are not those of the image's config. */
  | "diff-id-mismatch"
  /** The tar is damaged or cut short. */
  | "invalid-tar"
  /** The tar is well formed, but has an entry that containerd refuses, or that no node could unpack. */
  | "refused-entry"
  /** A `--limit` is exceeded. */
  | "limit";

/** Why a layer cannot be used. The message names the entry where there is one; the caller adds image and layer. */
export class LayerError extends CodedError<LayerErrorCode> {}

/** A limit is exceeded: the message says which option moves it. */
export function limitError(name: string, value: number, what: string): LayerError {
  return new LayerError("limit", `${what} exceeds the limit of ${value}; --limit ${name}=VALUE raises it`);
}

/** A compressed stream is damaged. */
export function corruptCompression(name: string, reason: string, cause?: unknown): LayerError {
  return new LayerError("corrupt-compression", `the layer's ${name} stream is damaged: ${reason}`, { cause });
}

const shownBytes = 200;

/** A path as people can read it: quotes, escapes for what is no printable ASCII or valid UTF-8, long ones cut. */
export function printableName(name: Uint8Array): string {
  const cut = name.length > shownBytes;
  const part = Buffer.from(cut ? name.subarray(0, shownBytes) : name);
  const text = part.toString("utf8");
  const valid = !text.includes("\ufffd");
  const shown = (valid ? text : part.toString("latin1")).replace(valid ? /[\p{C}"\\]/gu : /[^ -~]|["\\]/g, (char) =>
    char === '"' || char === "\\"
      ? `\\${char}`
      : [...Buffer.from(char, valid ? "utf8" : "latin1")]
          .map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`)
          .join(""),
  );
  return cut ? `"${shown}"... (${name.length} bytes)` : `"${shown}"`;
}
