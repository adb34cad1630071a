import { z } from "zod";
import { type Digest, isDigest } from "../../oci/descriptor.ts";
import { causeText, printable } from "../../oci/oci-error.ts";
import { DiskError } from "../disk-error.ts";

/** The major version of the disk format that is read. */
const supportedMajor = 1;

const hexDigits = z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits are needed");
const digest = z.custom<Digest>(
  (value) => typeof value === "string" && isDigest(value),
  "sha256:<64 hex digits> is needed",
);
const size = z.int().nonnegative();

const platform = z.object({ os: z.string(), architecture: z.string(), variant: z.string().exactOptional() });
const descriptor = z.object({ mediaType: z.string(), digest, size });
const layer = z.object({
  diffID: digest,
  chainID: digest,
  mediaType: z.string(),
  digest,
  size,
  tree: z.string().regex(/^layers\/[0-9a-f]{64}$/, "layers/<64 hex digits> is needed"),
  impliedDirectories: z.array(size).exactOptional(),
  whiteouts: z.enum(["kept", "applied"]).exactOptional(),
});
const image = z.object({
  names: z.array(z.string()),
  target: descriptor,
  manifest: descriptor,
  config: descriptor,
  platform,
  tree: z
    .string()
    .regex(/^(images|layers)\/[0-9a-f]{64}$/, "images/<64 hex digits> or layers/<64 hex digits> is needed")
    .nullable(),
  layers: z.array(layer),
});
const diskIndex = z.object({
  formatVersion: z.string(),
  id: hexDigits,
  line: z.string(),
  sequence: size,
  created: z.string().regex(/^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, "an RFC 3339 time in UTC is needed"),
  builder: z.string(),
  platform,
  blobs: z.boolean(),
  erofsCache: z.boolean(),
  images: z.array(image),
});

/** `/nodewarm.json` (`docs/disk-format.md`, section 4). */
export type DiskIndex = z.infer<typeof diskIndex>;
export type IndexImage = DiskIndex["images"][number];
export type IndexLayer = IndexImage["layers"][number];

/**
 * Decodes `/nodewarm.json`; fields it does not know are left out. Throws `DiskError`: `unknown-version` for another major
 * version, `corrupt` for anything else that is not an index.
 */
export function parseDiskIndex(bytes: Uint8Array, diskName: string): DiskIndex {
  const document = parseJson(bytes, diskName);
  const version = z.object({ formatVersion: z.string().regex(/^\d+\.\d+$/) }).safeParse(document);
  if (!version.success) {
    throw new DiskError("corrupt", `${diskName}: /nodewarm.json has no formatVersion such as "1.0"`);
  }
  const { formatVersion } = version.data;
  if (Number(formatVersion.split(".", 1)[0]) !== supportedMajor) {
    throw new DiskError(
      "unknown-version",
      `${diskName} has disk format ${formatVersion}, but this version of Nodewarm reads ${supportedMajor}.x; use a later one`,
    );
  }
  const parsed = diskIndex.safeParse(document);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new DiskError(
    "corrupt",
    printable(`${diskName}: /nodewarm.json: ${issue.path.join(".")}: ${issue.message}`, 1000),
  );
}

function parseJson(bytes: Uint8Array, diskName: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new DiskError("corrupt", `${diskName}: /nodewarm.json is not JSON: ${causeText(cause)}`, { cause });
  }
}
