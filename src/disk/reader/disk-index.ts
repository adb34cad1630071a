import { isDigest, type Platform } from "../../oci/descriptor.ts";
import {
  array,
  boolean,
  naturalNumber,
  object,
  optional,
  orNull,
  readShape,
  type Shape,
  type Shaped,
  string,
  stringThat,
} from "../../oci/json-shape.ts";
import { causeText, printable } from "../../oci/oci-error.ts";
import { DiskError } from "../disk-error.ts";

/** The major version of the disk format that is read. */
const supportedMajor = 1;

const digest = stringThat(isDigest, "sha256:<64 hex digits>");
const descriptor = object({ mediaType: string, digest, size: naturalNumber });

const anyPlatform = object({ os: string, architecture: string, variant: optional(string) });
const platform: Shape<Platform> = (value, path) => {
  const { variant, ...rest } = anyPlatform(value, path);
  return variant === undefined ? rest : { ...rest, variant };
};

const whiteouts = stringThat((text) => text === "kept" || text === "applied", '"kept" or "applied"');
const anyLayer = object({
  diffID: digest,
  chainID: digest,
  mediaType: string,
  digest,
  size: naturalNumber,
  tree: matching(/^layers\/[0-9a-f]{64}$/, "layers/<64 hex digits>"),
  impliedDirectories: optional(array(naturalNumber)),
  inherits: optional(boolean),
  whiteouts: optional(whiteouts),
});
type AnyLayer = Shaped<typeof anyLayer>;

export type IndexLayer = Omit<AnyLayer, "impliedDirectories" | "inherits" | "whiteouts"> & {
  readonly impliedDirectories?: readonly number[];
  readonly inherits?: boolean;
  readonly whiteouts?: "kept" | "applied";
};
const layer: Shape<IndexLayer> = (value, path) => {
  const { impliedDirectories, inherits, whiteouts: form, ...rest } = anyLayer(value, path);
  return {
    ...rest,
    ...(impliedDirectories && { impliedDirectories }),
    ...(inherits !== undefined && { inherits }),
    ...(form && { whiteouts: form }),
  };
};

const image = object({
  names: array(string),
  target: descriptor,
  manifest: descriptor,
  config: descriptor,
  platform,
  tree: orNull(matching(/^(images|layers)\/[0-9a-f]{64}$/, "images/<64 hex digits> or layers/<64 hex digits>")),
  layers: array(layer),
});
const diskIndex = object({
  formatVersion: string,
  id: matching(/^[0-9a-f]{64}$/, "64 hex digits"),
  line: string,
  sequence: naturalNumber,
  created: matching(/^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, "an RFC 3339 time in UTC"),
  builder: string,
  platform,
  blobs: boolean,
  erofsCache: boolean,
  images: array(image),
});
const versioned = object({ formatVersion: matching(/^\d+\.\d+$/, 'such as "1.0"') });

/** `/nodewarm.json` (`docs/disk-format.md`, section 4). */
export type DiskIndex = Shaped<typeof diskIndex>;
export type IndexImage = DiskIndex["images"][number];

/**
 * Decodes `/nodewarm.json`; fields it does not know are left out. Throws `DiskError`: `unknown-version` for another major
 * version, `corrupt` for anything else that is not an index.
 */
export function parseDiskIndex(bytes: Uint8Array, diskName: string): DiskIndex {
  const document = parseJson(bytes, diskName);
  const version = readShape(versioned, document);
  if (version.problem) {
    throw new DiskError("corrupt", `${diskName}: /nodewarm.json has no formatVersion such as "1.0"`);
  }
  const { formatVersion } = version.value;
  if (Number(formatVersion.split(".", 1)[0]) !== supportedMajor) {
    throw new DiskError(
      "unknown-version",
      `${diskName} has disk format ${formatVersion}, but this version of Nodewarm reads ${supportedMajor}.x; use a later one`,
    );
  }
  const { value, problem } = readShape(diskIndex, document);
  if (problem === undefined) return value;
  throw new DiskError(
    "corrupt",
    printable(`${diskName}: /nodewarm.json: ${problem.path && `${problem.path} `}${problem.message}`, 1000),
  );
}

/** A string of a certain form; `needed` describes it. */
function matching(pattern: RegExp, needed: string): Shape<string> {
  return stringThat((text): text is string => pattern.test(text), needed);
}

function parseJson(bytes: Uint8Array, diskName: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new DiskError("corrupt", `${diskName}: /nodewarm.json is not JSON: ${causeText(cause)}`, { cause });
  }
}
