import { createHash } from "node:crypto";
import type { DiskIdentity, FoundDisk } from "../../../src/agent/disks/disk-finder.ts";
import type { Digest } from "../../../src/oci/descriptor.ts";
import type { DiskStatus } from "../../../src/runtime/runtime.ts";

/** A digest that stands for a word. */
export function testDigest(word: string): Digest {
  return `sha256:${createHash("sha256").update(word).digest("hex")}`;
}

/** A disk that gives names digests. Its time is its sequence. */
export function diskIdentity(line: string, sequence: number, images: Readonly<Record<string, Digest>>): DiskIdentity {
  const byDigest = Map.groupBy(Object.entries(images), ([, digest]) => digest);
  return {
    id: createHash("sha256")
      .update(JSON.stringify([line, sequence, images]))
      .digest("hex"),
    line,
    sequence,
    createdSeconds: 1_700_000_000 + sequence,
    images: [...byDigest].map(([digest, entries]) => ({ names: entries.map(([name]) => name), digest })),
  };
}

export function foundDisk(identity: DiskIdentity, overrides: Partial<FoundDisk> = {}): FoundDisk {
  return {
    path: `/disks/${identity.line}-${identity.sequence}.erofs`,
    kind: "file",
    state: "trusted",
    reason: "",
    trustEntry: "/disks",
    identity,
    ...overrides,
  };
}

/** What a runtime says of a disk that was injected whole. */
export function diskStatus(identity: DiskIdentity, overrides: Partial<DiskStatus> = {}): DiskStatus {
  const { id, line, sequence, images } = identity;
  return {
    id,
    line,
    sequence,
    source: foundDisk(identity).path,
    isMounted: true,
    images: images.map(({ names, digest }) => ({ names, digest, chain: "complete", conditions: [] })),
    heldBy: [],
    conditions: [],
    ...overrides,
  };
}
