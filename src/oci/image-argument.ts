import { type Digest, isDigest } from "./descriptor.ts";
import { OciError } from "./oci-error.ts";
import { parseReference, type Reference } from "./reference.ts";

/** What an IMAGE argument means. */
export type ImageArgument =
  | { readonly kind: "registry"; readonly reference: Reference }
  | { readonly kind: "oci"; readonly path: string; readonly tag?: string; readonly digest?: Digest }
  | { readonly kind: "oci-archive"; readonly path: string; readonly tag?: string }
  | { readonly kind: "docker-archive"; readonly path: string; readonly reference?: Reference };

/**
 * Parses a reference, `oci:DIR[:TAG|@DIGEST]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:REF]`. The path ends at the
 * first colon, so that TAG may be a whole reference. Throws `OciError` (invalid-argument, invalid-reference).
 */
export function parseImageArgument(text: string): ImageArgument {
  const prefix = /^(oci|oci-archive|docker-archive):/.exec(text)?.[1];
  switch (prefix) {
    case "oci": {
      const rest = text.slice("oci:".length);
      const at = rest.lastIndexOf("@");
      const digest = at < 0 ? "" : rest.slice(at + 1);
      if (isDigest(digest)) return { kind: "oci", path: nonEmpty(text, rest.slice(0, at), "DIR"), digest };
      if (at >= 0 && /^[a-z0-9+._-]+:[0-9a-fA-F]*$/.test(digest)) {
        throw new OciError("invalid-argument", `Cannot use "${text}": "${digest}" is no sha256 digest`);
      }
      return { kind: "oci", ...withTag(text, rest, "DIR") };
    }
    case "oci-archive":
      return { kind: "oci-archive", ...withTag(text, text.slice("oci-archive:".length), "FILE") };
    case "docker-archive": {
      const { path, tag } = withTag(text, text.slice("docker-archive:".length), "FILE");
      return { kind: "docker-archive", path, ...(tag !== undefined && { reference: parseReference(tag) }) };
    }
    default:
      return { kind: "registry", reference: parseReference(text) };
  }
}

function withTag(text: string, rest: string, what: string): { path: string; tag?: string } {
  const colon = rest.indexOf(":");
  if (colon < 0) return { path: nonEmpty(text, rest, what) };
  return { path: nonEmpty(text, rest.slice(0, colon), what), tag: nonEmpty(text, rest.slice(colon + 1), "TAG") };
}

function nonEmpty(text: string, part: string, what: string): string {
  if (part === "" || part.includes("\0"))
    throw new OciError("invalid-argument", `Cannot use "${text}": ${what} is missing`);
  return part;
}
