import type { Limit } from "../oci/limit.ts";

/** Bounds on a whole disk. */
export const diskLimits = {
  "disk-entries": {
    default: 5_000_000,
    unit: "count",
    description: "entries of all layer trees of one disk; about 60 bytes of memory each",
  },
} satisfies Record<string, Limit>;
