import { hash, webcrypto } from "node:crypto";
import type { ByteSource } from "../../filesystem/byte-source.ts";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import type { Unit } from "./coverage.ts";

/** Bytes that a digest is taken without: they read as `fill`. */
export type Patch = { readonly position: number; readonly length: number; readonly fill: number };

export type DigestPassOptions = {
  readonly patches: readonly Patch[];
  /** Sees each unit with its bytes after they were compared; `data` is only valid during the call. */
  readonly onUnit: (unit: Unit, data: Buffer) => void;
  /** The end of the image in bytes; units beyond it are problems. */
  readonly endBytes: number;
  readonly onBytes?: (bytes: number) => void;
  /** All digests are computed in the calling thread: others do not have its priority. */
  readonly inThisThread?: boolean;
  readonly signal?: AbortSignal;
};

const batchBytes = 4 << 20;
const maxUnitBytes = 1 << 20;
/** From this length on handing a unit to another thread costs less than it saves. */
const otherThreadBytes = 64 << 10;
const zeroBlock = Buffer.alloc(blockBytes);

type Batch = { readonly units: readonly Unit[]; readonly position: number; readonly length: number };

/**
 * Reads each unit once and reports those whose bytes differ from their digest, and padding that is not zero. While one batch
 * is hashed the next is being read; its large units are hashed in the threads that Node has for that unless `inThisThread`, the small
 * ones here meanwhile.
 */
export async function checkDigests(
  source: ByteSource,
  units: Iterable<Unit>,
  problems: ProblemList,
  options: DigestPassOptions,
): Promise<void> {
  const buffers = [
    Buffer.allocUnsafeSlow(batchBytes + maxUnitBytes),
    Buffer.allocUnsafeSlow(batchBytes + maxUnitBytes),
  ];
  const all = batches(units, problems, options.endBytes)[Symbol.iterator]();
  const elsewhereBytes = options.inThisThread ? Number.POSITIVE_INFINITY : otherThreadBytes;
  let turn = 0;
  const readNext = () => {
    const { value: batch, done } = all.next();
    if (done) return undefined;
    const bytes = buffers[turn++ % 2].subarray(0, batch.length);
    const reading = source.read(batch.position, bytes);
    // Awaited later; a failure must not count as unhandled until then.
    reading.catch(() => {});
    return { batch, bytes, reading };
  };
  let current = readNext();
  while (current !== undefined) {
    options.signal?.throwIfAborted();
    await current.reading;
    const next = readNext();
    const { batch, bytes } = current;
    const started = batch.units.map((unit) => {
      const start = unit.position - batch.position;
      const padded = bytes.subarray(start, start + unit.paddedLength);
      const patched = applyPatches(unit, padded.subarray(0, unit.length), options.patches);
      const digest = unit.length < elsewhereBytes ? undefined : webcrypto.subtle.digest("SHA-256", patched);
      return { unit, padded, patched, digest };
    });
    for (const { unit, padded, patched, digest } of started) {
      const actual = digest === undefined ? hash("sha256", patched, "buffer") : Buffer.from(await digest);
      checkUnit(unit, padded, actual, problems, options);
    }
    options.onBytes?.(current.batch.length);
    if (problems.isFull) {
      await next?.reading.catch(() => {});
      return;
    }
    current = next;
  }
}

function checkUnit(unit: Unit, bytes: Buffer, digest: Buffer, problems: ProblemList, options: DigestPassOptions): void {
  const data = bytes.subarray(0, unit.length);
  if (!digest.equals(unit.digest)) {
    const what = unit.kind === undefined ? "file content" : "area";
    problems.add(
      `bytes ${unit.position} to ${unit.position + unit.length - 1}`,
      `the ${what} is not what its digest says`,
    );
  }
  // At most a block; compared natively, as a loop over bytes costs more than the hashes.
  if (zeroBlock.compare(bytes, unit.length, bytes.length, 0, bytes.length - unit.length) !== 0) {
    problems.add(
      `bytes ${unit.position + unit.length} to ${unit.position + bytes.length - 1}`,
      "the padding is not zero",
    );
  }
  options.onUnit(unit, data);
}

function applyPatches(unit: Unit, data: Buffer, patches: readonly Patch[]): Buffer {
  const end = unit.position + unit.length;
  const hit = patches.filter((patch) => patch.position < end && patch.position + patch.length > unit.position);
  if (hit.length === 0) return data;
  const copy = Buffer.from(data);
  for (const { position, length, fill } of hit) {
    copy.fill(fill, Math.max(0, position - unit.position), Math.min(unit.length, position + length - unit.position));
  }
  return copy;
}

/** Neighbouring units together, so that small contents do not cost a read each. */
function* batches(units: Iterable<Unit>, problems: ProblemList, endBytes: number): Generator<Batch> {
  let batch: Unit[] = [];
  let position = 0;
  let length = 0;
  for (const unit of units) {
    if (unit.position + unit.paddedLength > endBytes) {
      problems.add(`byte ${unit.position}`, "something with a digest lies outside of the image");
      continue;
    }
    if (batch.length > 0 && (unit.position !== position + length || length >= batchBytes)) {
      yield { units: batch, position, length };
      batch = [];
    }
    if (batch.length === 0) {
      position = unit.position;
      length = 0;
    }
    batch.push(unit);
    length += unit.paddedLength;
  }
  if (batch.length > 0) yield { units: batch, position, length };
}
