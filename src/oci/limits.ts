import type { Limit, LimitValues } from "./limit.ts";

/** Bounds on what registries, layouts and archives may make us read, hold or wait for. */
export const ociLimits = {
  "manifest-bytes": { default: 4 << 20, unit: "bytes", description: "size of an index or manifest" },
  "config-bytes": { default: 8 << 20, unit: "bytes", description: "size of an image config" },
  "image-layers": { default: 500, unit: "count", description: "layers of one image" },
  "index-entries": { default: 2000, unit: "count", description: "manifests listed by one index" },
  "index-depth": { default: 4, unit: "count", description: "indexes nested in one another" },
  "index-documents": { default: 64, unit: "count", description: "documents read to find the manifest for a platform" },
  "archive-members": { default: 100_000, unit: "count", description: "files in an image archive" },
  "fetch-retries": { default: 5, unit: "count", description: "new attempts after a request or transfer failed" },
  "stall-seconds": {
    default: 30,
    unit: "seconds",
    description: "time without progress before a transfer is broken off",
  },
  "retry-after-seconds": { default: 120, unit: "seconds", description: "longest wait that a registry can ask for" },
} as const satisfies Record<string, Limit>;

export type OciLimits = LimitValues<typeof ociLimits>;
