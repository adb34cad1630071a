import { createHash } from "node:crypto";
import type { DiskIdentity } from "../../../src/agent/disks/disk-finder.ts";
import type { DiskReader } from "../../../src/disk/reader/disk-reader.ts";
import type { Descriptor, Digest } from "../../../src/oci/descriptor.ts";
import { hostPlatform } from "../../../src/oci/platform.ts";
import type { ResolvedImage } from "../../../src/oci/resolved-image.ts";
import type { OpenDisk } from "../../../src/runtime/runtime.ts";
import { testDigest } from "./facts.ts";

const mediaType = "application/vnd.oci.image.manifest.v1+json";

/** An image with one layer that only its word is in; its digest is that of the word. */
export function testImage(word: string, layerBytes = Buffer.from(`layer of ${word}`)): ResolvedImage {
  const layer: Digest = `sha256:${createHash("sha256").update(layerBytes).digest("hex")}`;
  const target: Descriptor = { mediaType, digest: testDigest(word), size: 2 };
  return {
    names: [],
    target,
    manifest: target,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: testDigest(`config of ${word}`), size: 2 },
    platform: hostPlatform(),
    createdSeconds: undefined,
    documents: [],
    layers: [{ descriptor: { mediaType: "layer", digest: layer, size: layerBytes.length }, diffID: diffID(word) }],
    async *openLayer() {
      yield layerBytes;
    },
  };
}

/** DiffID, and so chainID, of the only layer of a word's image. */
export function diffID(word: string): Digest {
  return testDigest(`diffID of ${word}`);
}

/** What a runtime in memory reads of a disk whose images are words: `words` says which digest is which. */
export function openMemoryDisk(identity: DiskIdentity, path: string, words: readonly string[]): OpenDisk {
  const wordOf = new Map(words.map((word) => [testDigest(word), word]));
  const images = identity.images.map(({ names, digest }) => {
    const word = wordOf.get(digest) ?? digest;
    const chainID = diffID(word);
    const tree = `layers/${chainID.slice(7)}`;
    const layers = testImage(word).layers.map(({ descriptor }) => ({ ...descriptor, chainID, diffID: chainID, tree }));
    return { names, target: { mediaType, digest, size: 2 }, tree, layers };
  });
  const { id, line, sequence, createdSeconds } = identity;
  const created = new Date(createdSeconds * 1000).toISOString();
  // `MemoryRuntime` reads nothing else.
  const disk = { id, index: { id, line, sequence, created, images }, close: async () => {} } as unknown as DiskReader;
  return { disk, source: { path, kind: "file", device: undefined, sizeBytes: 4096, id, line, sequence } };
}
