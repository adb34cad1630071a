import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompress, storedFromBytes } from "../../src/layers/compression.ts";
import { LayerError } from "../../src/layers/layer-error.ts";
import { edgeLayers } from "../../test/corpus/edge-layers.ts";
import { checkTree } from "../../test/support/check-layer-tree.ts";
import { pieces, type ReadTar, readStored, sha256 } from "../../test/support/layer-reading.ts";
import { checksum } from "../../test/support/tar-maker.ts";
import { type FuzzInput, type FuzzTarget, inTime, pick, type Random } from "./target.ts";

/** Changed edge layers: each gives a whole tree or a `LayerError`, in bounded time, and the same in pieces of any size. */
export const layerTarget: FuzzTarget = { name: "layer", make, check };

const limitMs = 10_000;
const tars = edgeLayers.map((layer) => layer.tar()).filter((tar) => tar.length < 2_000_000);
const interesting = ["\0", "/", "..", ".wh.", ".wh..wh..opq", "g", "x", "S", "L", "5", "1", "\xff", "7777777", "\x80"];

/** Parts `tar` (it gives the diffID) and, where that is compressed, `stored`. */
function make(random: Random): FuzzInput {
  const tar = mutated(pick(random, tars), random);
  const form = random(8);
  if (form > 1) return { tar };
  const stored = form === 0 ? gzipSync(tar, { level: pick(random, [0, 1, 6]) }) : zstdCompressSync(tar);
  for (let count = random(3); count > 0; count--) stored[random(stored.length)] = random(256);
  return { tar, stored };
}

function mutated(tar: Buffer, random: Random): Buffer {
  let result = Buffer.from(tar);
  for (let count = 1 + random(4); count > 0 && result.length > 0; count--) {
    const block = 512 * random(Math.ceil(result.length / 512));
    switch (random(6)) {
      case 0:
        result[random(result.length)] = random(256);
        break;
      case 1:
        result.write(pick(random, interesting), Math.min(block + random(512), result.length - 1), "latin1");
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
        const other = pick(random, tars);
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
  tar.write(
    `${checksum(tar.subarray(at, at + 512))
      .toString(8)
      .padStart(6, "0")}\0 `,
    at + 148,
    "latin1",
  );
}

async function check({ tar, stored = tar }: FuzzInput): Promise<void> {
  if (tar === undefined || stored === undefined) throw new Error("an input without a tar");
  await inTime(limitMs, async () => {
    if (stored !== tar) await checkCopying(stored);
    const whole = await outcome(stored, tar, 1 << 20);
    if (!(whole instanceof LayerError)) checkTree(whole.tree, whole.contentCount);
    if (stored.length >= 200_000) return;
    const cut = await outcome(stored, tar, 1 + (stored.length % 700));
    // libzstd does not find the same damage in pieces as at once; what passes has the right digest in any case.
    const isSame = stored !== tar || summary(cut) === summary(whole);
    if (!isSame) throw new Error(`pieces change the outcome: ${summary(whole)} and ${summary(cut)}`);
  });
}

/** What is copied from a long gzip stream is what zlib makes of a short one. */
async function checkCopying(stored: Buffer): Promise<void> {
  const long = await inflated(stored, storedFromBytes);
  const short = await inflated(stored, storedFromBytes - 1);
  const isSame = long === undefined || short === undefined ? long === short : long.equals(short);
  if (!isSame)
    throw new Error("zlib and what copies stored blocks give different bytes, or only one of them gives any");
}

async function inflated(stored: Buffer, sizeBytes: number): Promise<Buffer | undefined> {
  const { signal } = new AbortController();
  const parts: Uint8Array[] = [];
  try {
    for await (const part of decompress(pieces(stored, 1 << 16), { mediaType: "", sizeBytes, signal }))
      parts.push(Buffer.from(part));
  } catch (error) {
    if (error instanceof LayerError) return undefined;
    throw error;
  }
  return Buffer.concat(parts);
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
