import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BenchCache } from "../suite/cache.ts";
import { type GeneratedFile, generatedTar, randomNumbers } from "../suite/contents.ts";
import { ImageStore, type StoredImage } from "../suite/image-store.ts";

/** About what gzip leaves of the files below. */
const compression = 0.58;

/** An image of so many layers of one size, `compressedBytes` in all: programs and weights, in files of 10 KB to 6 MB. */
export async function layeredImage(cache: BenchCache, layers: number, compressedBytes: number): Promise<StoredImage> {
  const store = new ImageStore(cache, "");
  const program = (await readFile(process.execPath)).length;
  const layerBytes = compressedBytes / compression / layers;
  const stored = [];
  for (let index = 0; index < layers; index++) {
    const name = `fetch-${layers}-${Math.round(compressedBytes / 1e6)}-${index}`;
    stored.push(await store.layer(name, () => generatedTar(files(name, layerBytes, program)), 3));
  }
  return store.image(`fetch/layers-${layers}-${Math.round(compressedBytes / 1e6)}:v1`, stored, ["none"]);
}

/** Path of the registry's storage. */
export function storagePath(cache: BenchCache): string {
  return join(cache.registry);
}

function* files(seed: string, sizeBytes: number, programBytes: number): Generator<GeneratedFile> {
  const number = randomNumbers(seed);
  for (let index = 0, left = sizeBytes; left > 0; index++) {
    const kind = number(4);
    const size = Math.min(Math.ceil(left), 10_000 + number(number(3) === 0 ? 6_000_000 : 300_000), programBytes);
    const content =
      kind === 0
        ? ({ kind: "weights", seed: `${seed}-${index}`, sizeBytes: size } as const)
        : ({ kind: "variant", seed: `${seed}-${index}`, path: process.execPath, sizeBytes: size } as const);
    yield { name: `opt/${seed}/${index >> 6}/file-${index}`, content, mode: 0o755 };
    left -= size;
  }
}
