import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { LayerError } from "../src/layers/layer-error.ts";
import { edgeLayers } from "../test/corpus/edge-layers.ts";
import { checkTree } from "../test/support/check-layer-tree.ts";
import { type ReadTar, readStored, sha256 } from "../test/support/layer-reading.ts";

// Changes edge layers at random and reads them: each must give a whole tree or a `LayerError`, in bounded time, and the same in pieces of
// any size. Usage: node scripts/fuzz-tar.ts [--seconds 30] [--seed N]. Failing inputs are kept in test/corpus/seeds and run first.

const { values } = parseArgs({ options: { seconds: { type: "string" }, seed: { type: "string" } } });
const seconds = Number(values.seconds ?? 30);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const seedsFolder = new URL("../test/corpus/seeds/", import.meta.url);
const slowMs = 10_000;

let state = seed >>> 0;

/** A whole number from 0 to below `bound` (a multiply-with-carry of 32 bits; the seed gives the whole run). */
function random(bound: number): number {
  state = (Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + 0x9e37_79b9) >>> 0;
  return Math.floor(((state ^ (state >>> 13)) >>> 0) / (2 ** 32 / bound));
}

function pick<Item>(items: readonly Item[]): Item {
  return items[random(items.length)] as Item;
}

const interesting = ["\0", "/", "..", ".wh.", ".wh..wh..opq", "g", "x", "S", "L", "5", "1", "\xff", "7777777", "\x80"];

function mutated(tar: Buffer): Buffer {
  let result = Buffer.from(tar);
  for (let count = 1 + random(4); count > 0 && result.length > 0; count--) {
    const block = 512 * random(Math.ceil(result.length / 512));
    switch (random(6)) {
      case 0:
        result[random(result.length)] = random(256);
        break;
      case 1:
        result.write(pick(interesting), Math.min(block + random(512), result.length - 1), "latin1");
        break;
      case 2:
        result = result.subarray(0, random(result.length));
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, block), result.subarray(block + 512 * (1 + random(2)))]);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, block + 512), result.subarray(block)]);
        break;
      default: {
        const other = pick(tars);
        const from = 512 * random(Math.ceil(other.length / 512));
        result = Buffer.concat([result.subarray(0, block), other.subarray(from, from + 2048), result.subarray(block)]);
      }
    }
    if (random(5) > 0) fixChecksum(result, block);
  }
  return result;
}

/** Most changes would otherwise end at the checksum. */
function fixChecksum(tar: Buffer, at: number): void {
  if (at + 512 > tar.length) return;
  let sum = 8 * 32;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += tar[at + i] as number;
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
}

async function outcome(stored: Buffer, tar: Buffer, pieceBytes: number): Promise<ReadTar | LayerError> {
  try {
    return await readStored(stored, sha256(tar), { pieceBytes, limits: { "file-bytes": 2 ** 24 } });
  } catch (error) {
    if (error instanceof LayerError) return error;
    throw error;
  }
}

function summary(result: ReadTar | LayerError): string {
  if (result instanceof LayerError) return `${result.code}: ${result.message}`;
  const { tree, sink } = result;
  return JSON.stringify([tree.entryCount, [...tree.entryInode], [...tree.payload], [...tree.linkCount], sink.keys]);
}

async function check(stored: Buffer, tar: Buffer): Promise<void> {
  const start = performance.now();
  const whole = await outcome(stored, tar, 1 << 20);
  if (!(whole instanceof LayerError)) checkTree(whole.tree, whole.contentCount);
  if (stored.length < 200_000) {
    const cut = await outcome(stored, tar, 1 + random(700));
    // libzstd does not find the same damage in pieces as at once; what passes has the right digest in any case.
    const isSame = stored !== tar || summary(cut) === summary(whole);
    if (!isSame) throw new Error(`pieces change the outcome: ${summary(whole)} and ${summary(cut)}`);
  }
  if (performance.now() - start > slowMs) throw new Error(`takes ${performance.now() - start} ms`);
}

function keep(stored: Buffer, tar: Buffer): string {
  mkdirSync(seedsFolder, { recursive: true });
  const name = `layer-${sha256(stored).slice(7, 23)}`;
  writeFileSync(new URL(`${name}.tar`, seedsFolder), tar);
  if (stored !== tar) writeFileSync(new URL(`${name}.stored`, seedsFolder), stored);
  return name;
}

const tars = edgeLayers.map((layer) => layer.tar()).filter((tar) => tar.length < 2_000_000);
let failures = 0;
let runs = 0;
console.log(`seed ${seed}, ${seconds} s`);

const keptSeeds = existsSync(seedsFolder)
  ? readdirSync(seedsFolder).filter((name) => /^layer-.*\.tar$/.test(name))
  : [];
for (const name of keptSeeds) {
  const tar = readFileSync(new URL(name, seedsFolder));
  const storedFile = new URL(name.replace(/tar$/, "stored"), seedsFolder);
  await check(existsSync(storedFile) ? readFileSync(storedFile) : tar, tar);
}

for (const end = performance.now() + seconds * 1000; performance.now() < end; runs++) {
  const tar = mutated(pick(tars));
  const form = random(8);
  let stored = tar;
  if (form === 0 || form === 1) {
    stored = form === 0 ? gzipSync(tar) : zstdCompressSync(tar);
    for (let count = random(3); count > 0; count--) stored[random(stored.length)] = random(256);
  }
  try {
    await check(stored, tar);
  } catch (error) {
    failures++;
    console.error(`run ${runs}, kept as ${keep(stored, tar)}:`, error);
  }
}
console.log(`${runs} layers, ${keptSeeds.length} kept ones, ${failures} failures`);
process.exitCode = failures > 0 ? 1 : 0;
