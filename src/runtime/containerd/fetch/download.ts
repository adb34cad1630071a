import { availableParallelism } from "node:os";
import { OciError } from "../../../oci/oci-error.ts";
import { recyclePiece } from "../../../oci/piece-buffers.ts";
import { Semaphore } from "../../../oci/registry/semaphore.ts";
import type { ByteRange, ResolvedImage } from "../../../oci/resolved-image.ts";
import { untilAborted } from "../../../oci/until-aborted.ts";
import type { FetchOptions } from "../../image-keeper.ts";
import { allOrNone } from "./all-or-none.ts";
import type { PrefixHash } from "./prefix-hash.ts";
import type { SpoolBlob } from "./spool-blob.ts";

/** Bytes of one request: servers that send us elsewhere for each one should not be asked too often. */
const rangeBytes = 32 << 20;

/** Bytes that are asked for at once of `admit`. */
const admittedBytes = 4 << 20;

/** Requests under way at once for all images; what a registry allows may be less. */
const rangesAtOnce = 6;

const places = new Semaphore(Math.max(rangesAtOnce, availableParallelism()));

export type Download = {
  readonly image: ResolvedImage;
  /** Of the layer. */
  readonly index: number;
  readonly blob: SpoolBlob;
  readonly hash: PrefixHash;
  readonly admit: FetchOptions["admit"];
  /** Told of bytes that have come, as they do. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
};

/**
 * Fetches what a blob lacks, several ranges at once; where the source gives only the whole, that. What has come stays in the spool when it
 * fails. Throws `OciError`, what `write(2)` gives, or the reason of `signal` or of `admit`.
 */
export async function download(work: Download): Promise<void> {
  const { blob, hash } = work;
  hash.advance(blob.prefixBytes);
  try {
    await allOrNone(blob.missing(rangeBytes), work.signal, async (range, signal) => {
      const leave = await places.acquire(signal);
      try {
        await fetchRange(work, range, signal);
      } finally {
        leave();
      }
    });
  } catch (error) {
    if (!(error instanceof OciError) || error.code !== "no-ranges") throw error;
    await fetchWhole(work);
  }
}

async function fetchRange(work: Download, range: ByteRange, signal: AbortSignal): Promise<void> {
  const { image, index } = work;
  let { offset } = range;
  for await (const piece of admitted(work, range.length, signal, () => image.openLayer(index, { signal, range }))) {
    await take(work, offset, piece);
    offset += piece.length;
    recyclePiece(piece);
  }
}

/** Bytes that are there already come again, and are not looked at. */
async function fetchWhole(work: Download): Promise<void> {
  const { image, index, blob, signal } = work;
  const leave = await places.acquire(signal);
  try {
    let offset = 0;
    for await (const piece of admitted(work, blob.sizeBytes, signal, () => image.openLayer(index, { signal }))) {
      const known = Math.min(piece.length, Math.max(0, blob.prefixBytes - offset));
      if (known < piece.length) await take(work, offset + known, piece.subarray(known));
      offset += piece.length;
      recyclePiece(piece);
    }
  } finally {
    leave();
  }
}

async function take({ blob, hash, onBytes }: Download, offset: number, bytes: Uint8Array): Promise<void> {
  const added = await blob.write(offset, bytes);
  hash.advance(blob.prefixBytes);
  onBytes(added);
}

/** The pieces of a source, each only when its bytes are admitted. */
async function* admitted(
  { admit }: Download,
  sizeBytes: number,
  signal: AbortSignal,
  open: () => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let seen = 0;
  let allowed = 0;
  const allow = async (): Promise<void> => {
    if (admit === undefined || seen < allowed || seen >= sizeBytes) return;
    const bytes = Math.min(admittedBytes, sizeBytes - seen);
    await untilAborted(admit(bytes), signal);
    allowed = seen + bytes;
  };
  await allow();
  for await (const piece of open()) {
    seen += piece.length;
    yield piece;
    await allow();
  }
}
