import { existsSync } from "node:fs";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BenchCache } from "./cache.ts";
import type { DebianPackages } from "./debian.ts";
import type { ImageStore, StoredImage, StoredLayer } from "./image-store.ts";
import { contentRecordBytes } from "./tar-scanner.ts";

export type Scale = "small" | "full";

/** What a generator works with. */
export type SuiteContext = {
  readonly cache: BenchCache;
  readonly store: ImageStore;
  readonly debian: DebianPackages;
  readonly scale: Scale;
};

export type MadeImages = {
  readonly images: readonly StoredImage[];
  /** The set again with one small layer of one image changed, for `--from`. */
  readonly changed?: readonly StoredImage[];
};

export type SetGenerator = {
  readonly name: string;
  readonly description: string;
  readonly make: (context: SuiteContext) => Promise<MadeImages>;
};

/** A generated set, as kept in the cache. */
export type ImageSet = MadeImages & {
  readonly name: string;
  readonly scale: Scale;
  /** Distinct layers. */
  readonly layers: number;
  readonly compressedBytes: number;
  readonly tarBytes: number;
  /** Entries of all distinct layers. */
  readonly entries: number;
  readonly nameBytes: number;
  readonly distinctContents: number;
  /** Sum over distinct contents of their size rounded up to 4 KiB. */
  readonly distinctContentBytes: number;
};

/** The set from the cache, else generated. */
export async function loadSet(generator: SetGenerator, context: SuiteContext): Promise<ImageSet> {
  const path = join(context.cache.sets, `${generator.name}-${context.scale}.json`);
  if (existsSync(path)) return JSON.parse(await readFile(path, "utf8"));
  process.stderr.write(`bench: generating ${generator.name} (${context.scale})\n`);
  const made = await generator.make(context);
  const layers = distinctLayers(made.images);
  const sum = (value: (layer: StoredLayer) => number) => layers.reduce((total, layer) => total + value(layer), 0);
  const set: ImageSet = {
    name: generator.name,
    scale: context.scale,
    ...made,
    layers: layers.length,
    compressedBytes: sum((layer) => layer.compressedBytes),
    tarBytes: sum((layer) => layer.tarBytes),
    entries: sum((layer) => layer.entries),
    nameBytes: sum((layer) => layer.nameBytes),
    ...(await distinctContents(context.store, layers)),
  };
  await writeFile(`${path}.new`, JSON.stringify(set));
  await rename(`${path}.new`, path);
  return set;
}

/** Each layer of the images once. */
export function distinctLayers(images: readonly StoredImage[]): StoredLayer[] {
  return [...new Map(images.flatMap((image) => image.layers).map((layer) => [layer.diffID, layer])).values()];
}

async function distinctContents(
  store: ImageStore,
  layers: readonly StoredLayer[],
): Promise<{ distinctContents: number; distinctContentBytes: number }> {
  const seen = new Set<number>();
  let distinctContentBytes = 0;
  for (const layer of layers) {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of store.contents(layer)) {
      const records = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      for (; at + contentRecordBytes <= records.length; at += contentRecordBytes) {
        // 52 bits of the digest: a collision among some millions changes the sum by one part in a million.
        const key = records.readUIntLE(at, 6) * 16 + (records[at + 6] & 15);
        if (seen.has(key)) continue;
        seen.add(key);
        distinctContentBytes += Math.ceil(records.readDoubleLE(at + 8) / 4096) * 4096;
      }
      rest = records.subarray(at);
    }
  }
  return { distinctContents: seen.size, distinctContentBytes };
}
