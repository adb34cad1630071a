import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createGunzip } from "node:zlib";
import { type ContentSink, chunkBytes } from "../src/layers/content.ts";
import { layerLimits } from "../src/layers/limits.ts";
import { readLayer } from "../src/layers/read-layer.ts";
import { TarReader } from "../src/layers/tar/tar-reader.ts";
import type { Digest } from "../src/oci/descriptor.ts";
import { limitValues } from "../src/oci/limit.ts";
import { dropPageCache } from "./measure/measured-run.ts";
import { median } from "./measure/statistics.ts";
import { markdownTable, megabytes, significant } from "./measure/table.ts";
import { openBenchCache } from "./suite/cache.ts";
import { distinctLayers, type ImageSet } from "./suite/image-set.ts";
import { ImageStore, type StoredLayer } from "./suite/image-store.ts";

const usage = `npm run bench:layers -- [options]   where the time for one layer goes: each step alone, on the same bytes

  --set NAME      a set that bench:build has made; default HELLO-16
  --scale SCALE   full or small; default full
  --limit-mb N    the largest layer up to N MB uncompressed, all of which is held in memory; default 1000
  --runs N        default 5
`;

const pieceBytes = 1 << 20;

type Step = { readonly name: string; readonly run: () => Promise<void> };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      set: { type: "string", default: "HELLO-16" },
      scale: { type: "string", default: "full" },
      "limit-mb": { type: "string", default: "1000" },
      runs: { type: "string", default: "5" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const cache = openBenchCache();
  const file = join(cache.sets, `${values.set}-${values.scale}.json`);
  const set: ImageSet = JSON.parse(await readFile(file, "utf8"));
  const limitBytes = Number(values["limit-mb"]) * 1e6;
  const fitting = distinctLayers(set.images).filter((layer) => layer.tarBytes <= limitBytes);
  const [layer] = fitting.sort((a, b) => b.tarBytes - a.tarBytes);
  if (layer === undefined) throw new Error(`${values.set} has no layer of at most ${values["limit-mb"]} MB`);
  const blob = new ImageStore(cache, "").blobPath(layer.digest);
  const steps = await stepsFor(layer, blob, join(cache.work, "tar"));
  const seconds = steps.map(() => [] as number[]);
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [index, step] of steps.entries()) {
      await dropPageCache();
      const started = performance.now();
      await step.run();
      seconds[index].push((performance.now() - started) / 1000);
    }
  }
  const size = `${megabytes(layer.compressedBytes)} MB gzip, ${megabytes(layer.tarBytes)} MB tar`;
  process.stdout.write(`${layer.diffID}: ${size}, ${layer.entries} entries. MB/s of the tar, medians.\n\n`);
  const rows = steps.map((step, index) => {
    const middle = median(seconds[index]);
    return [step.name, significant(middle), significant(layer.tarBytes / 1e6 / middle)];
  });
  process.stdout.write(`${markdownTable(["step alone", "s", "MB/s"], rows)}\n`);
}

async function stepsFor(layer: StoredLayer, blob: string, scratch: string): Promise<Step[]> {
  const compressed = await collect(createReadStream(blob, { highWaterMark: pieceBytes }));
  const tar = await collect(createReadStream(blob).pipe(createGunzip({ chunkSize: pieceBytes })));
  const external = ["gzip", "pigz", "igzip"].filter((program) => spawnSync(program, ["--version"]).status === 0);
  return [
    { name: "read the blob, not cached", run: () => drain(createReadStream(blob, { highWaterMark: pieceBytes })) },
    {
      name: "inflate (Node's zlib)",
      run: () =>
        drain(createReadStream(blob, { highWaterMark: pieceBytes }).pipe(createGunzip({ chunkSize: pieceBytes }))),
    },
    ...external.map((program) => ({
      name: `inflate (${program} -dc)`,
      run: async () => void spawnSync(program, ["-dc", blob], { stdio: ["ignore", "ignore", "inherit"] }),
    })),
    { name: "SHA-256 of the blob", run: async () => void sha256(compressed) },
    { name: "SHA-256 of the tar", run: async () => void sha256(tar) },
    { name: "parse the tar", run: async () => parse(tar) },
    {
      name: "read the layer: inflate, all digests, tree",
      run: async () => {
        await readLayer({
          input: pieces(compressed),
          descriptor: {
            mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
            digest: layer.digest as Digest,
            size: layer.compressedBytes,
          },
          diffID: layer.diffID as Digest,
          sink: nowhere,
          limits: limitValues(layerLimits),
          signal: new AbortController().signal,
        });
      },
    },
    { name: "write the tar and fsync", run: () => write(scratch, tar) },
  ];
}

const unused = Buffer.allocUnsafeSlow(chunkBytes);

const nowhere: ContentSink = {
  small: () => {},
  beginLarge: () => {},
  chunk: () => {},
  endLarge: () => {},
  room: (sizeBytes) => unused.subarray(0, sizeBytes),
  ready: async () => {},
};

function parse(tar: readonly Buffer[]): void {
  const handler = { paused: false, entry: () => {}, data: () => {}, endEntry: () => {} };
  const reader = new TarReader(handler, { paxBytes: limitValues(layerLimits)["pax-bytes"] });
  for (const piece of tar) reader.push(piece);
  reader.end();
}

async function write(path: string, tar: readonly Buffer[]): Promise<void> {
  const file = await open(path, "w");
  try {
    for (const piece of tar) await file.write(piece);
    await file.sync();
  } finally {
    await file.close();
    await rm(path);
  }
}

function sha256(chunks: readonly Buffer[]): string {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

async function* pieces(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

async function collect(from: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of from) chunks.push(chunk);
  return chunks;
}

async function drain(from: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of from);
}

await main();
