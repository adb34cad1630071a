import { CodedError } from "./coded-error.ts";

export type OciErrorCode =
  | "invalid-argument"
  | "invalid-reference"
  | "invalid-platform"
  | "invalid-configuration"
  | "invalid-document"
  | "invalid-archive"
  | "unsupported-media-type"
  | "unsupported-schema1"
  | "not-an-image"
  | "no-matching-platform"
  | "not-found"
  | "unauthorized"
  | "denied"
  | "credentials-failed"
  | "rate-limited"
  | "registry-unreachable"
  | "registry-error"
  | "registry-protocol"
  | "redirect-refused"
  | "transfer-broken"
  /** The source gives blobs only as a whole. */
  | "no-ranges"
  | "digest-mismatch"
  | "size-mismatch"
  | "limit-exceeded"
  | "file-unreadable";

/** What goes wrong between an image's name and the bytes of its layers. */
export class OciError extends CodedError<OciErrorCode> {}

/** What the operating system or a library said, for use inside a message: no stack, one line, bounded. */
export function causeText(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return printable(text, 300);
}

/** `text` from outside as one bounded line without control characters. */
export function printable(text: string, maxCharacters: number): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ").trim();
  return line.length > maxCharacters ? `${line.slice(0, maxCharacters)}…` : line;
}
