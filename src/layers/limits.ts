import type { Limit, LimitValues } from "../oci/limit.ts";

/** What one layer may cost at most. Each is a `--limit` name. */
export const layerLimits = {
  "layer-bytes": {
    default: 512 * 2 ** 30,
    unit: "bytes",
    description: "uncompressed size of one layer's tar",
  },
  "layer-ratio": {
    default: 1000,
    unit: "ratio",
    description: "uncompressed to compressed size of one layer, sparse files filled in; counts above 64 MiB",
  },
  "layer-entries": {
    default: 5_000_000,
    unit: "count",
    description: "tar entries of one layer, and directories that they imply",
  },
  "layer-name-bytes": {
    default: 256 * 2 ** 20,
    unit: "bytes",
    description: "names and link targets of one layer",
  },
  "layer-attributes": {
    default: 500_000,
    unit: "count",
    description: "distinct combinations of mode, owner and extended attributes in one layer",
  },
  "layer-xattr-bytes": {
    default: 128 * 2 ** 20,
    unit: "bytes",
    description: "names and values of extended attributes over the distinct combinations of one layer",
  },
  "file-bytes": { default: 2 ** 40, unit: "bytes", description: "size of one file, holes counted" },
  "path-bytes": { default: 4096, unit: "bytes", description: "length of one path, as Linux limits it (PATH_MAX)" },
  "path-depth": { default: 2048, unit: "count", description: "directories in one path" },
  "xattr-bytes": {
    default: 64 * 2 ** 10,
    unit: "bytes",
    description: "names and values of one file's extended attributes",
  },
  "xattr-count": { default: 1024, unit: "count", description: "extended attributes of one file" },
  "pax-bytes": { default: 2 ** 20, unit: "bytes", description: "size of one extended tar header or sparse map" },
} as const satisfies Record<string, Limit>;

export type LayerLimits = LimitValues<typeof layerLimits>;

/** Compression may exceed `layer-ratio` up to this many bytes. */
export const ratioFreeBytes = 64 * 2 ** 20;
