import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import { RuntimeError } from "../../runtime-error.ts";

/** A digest as containerd names it. Throws `unimplemented` for other algorithms: images here have SHA-256 only. */
export function digestOf(text: string): Digest {
  if (isDigest(text)) return text;
  throw new RuntimeError("unimplemented", `containerd has the digest "${text}"; only sha256 is understood`);
}
