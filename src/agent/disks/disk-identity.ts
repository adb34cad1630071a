import type { DiskIndex } from "../../disk/reader/disk-index.ts";
import type { DiskIdentity } from "./disk-finder.ts";

/** What an index says that the agent decides by. */
export function diskIdentity({ id, line, sequence, created, images }: DiskIndex): DiskIdentity {
  return {
    id,
    line,
    sequence,
    createdSeconds: Math.floor(Date.parse(created) / 1000) || 0,
    images: images.map(({ names, target }) => ({ names, digest: target.digest })),
  };
}
