import type { Descriptor } from "../descriptor.ts";
import { OciError } from "../oci-error.ts";
import { recyclePiece } from "../piece-buffers.ts";
import type { ByteRange } from "../resolved-image.ts";
import { Attempts, type RetryPolicy, TryAgain } from "./retry.ts";
import { type HttpAnswer, shownUrl } from "./transport.ts";

export type OpenedBlob = {
  /** 200, 206 or 416. */
  readonly answer: HttpAnswer;
  /** Told when the body breaks off, so that another server may be asked next. */
  readonly failed: (error: unknown) => void;
};

export type BlobTransfer = {
  readonly descriptor: Descriptor;
  /** Default: all. */
  readonly range?: ByteRange | undefined;
  /** Asks for the bytes from `offset` on, to the end of `range` at least. Throws `TryAgain`, `OciError`. */
  readonly open: (offset: number) => Promise<OpenedBlob>;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
};

/** So much must come before earlier failures are forgotten, or a server could keep us with a byte per attempt. */
const progressBytes = 1 << 20;

/**
 * The bytes of a blob from first to last, resumed where a transfer breaks off: by range where the server can, else by reading
 * again what was there before. Gives exactly the bytes of the range, or `descriptor.size`, or throws `OciError`: `no-ranges` when a range is asked
 * of a server that gives only all.
 */
export async function* transferBlob(transfer: BlobTransfer): AsyncGenerator<Uint8Array> {
  const { descriptor, range, open, policy, signal } = transfer;
  const attempts = new Attempts(policy);
  let offset = range?.offset ?? 0;
  const end = range === undefined ? descriptor.size : offset + range.length;
  let lastFailureAt = offset;
  while (offset < end) {
    let opened: OpenedBlob | undefined;
    try {
      opened = await open(offset);
      const { answer } = opened;
      if (answer.status === 200 && range !== undefined && offset > 0) throw noRanges(answer);
      let skip = bytesToSkip(answer, offset, descriptor);
      for await (const chunk of answer.body) {
        const skipped = Math.min(skip, chunk.length);
        skip -= skipped;
        const wanted = chunk.subarray(skipped);
        if (offset + wanted.length > descriptor.size) throw wrongSize(answer, descriptor, "more");
        const piece = wanted.subarray(0, end - offset);
        offset += piece.length;
        if (piece.length > 0) yield piece;
        else recyclePiece(chunk);
        signal.throwIfAborted();
        // What a server sends beyond the range is left where it is.
        if (offset === end && end < descriptor.size) break;
      }
      if (offset < end) throw endedEarly(answer, offset, descriptor);
    } catch (error) {
      signal.throwIfAborted();
      opened?.failed(error);
      if (offset - lastFailureAt >= progressBytes) attempts.progress();
      lastFailureAt = offset;
      await attempts.waitAfter(error, signal);
    }
  }
}

/** How much of the answer's body lies before `offset`. Throws when it cannot be the blob. */
function bytesToSkip(answer: HttpAnswer, offset: number, descriptor: Descriptor): number {
  if (answer.status === 416) throw wrongSize(answer, descriptor, `no bytes from ${offset} on instead of`);
  const lengthHeader = answer.header("content-length");
  const length = lengthHeader === undefined ? undefined : Number(lengthHeader);
  if (answer.status !== 206) {
    if (length !== undefined && length !== descriptor.size)
      throw wrongSize(answer, descriptor, `${length} bytes instead of`);
    return offset;
  }
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.header("content-range") ?? "");
  const [, first, last, total] = range ?? [];
  if (total !== undefined && total !== "*" && Number(total) !== descriptor.size) {
    throw wrongSize(answer, descriptor, `${total} bytes instead of`);
  }
  if (Number(first) !== offset || !(Number(last) < descriptor.size)) {
    throw new OciError("registry-protocol", `${shownUrl(answer.url)} sent another range than was asked for`);
  }
  return 0;
}

function noRanges(answer: HttpAnswer): OciError {
  return new OciError("no-ranges", `${shownUrl(answer.url)} gives only the whole blob, not parts of it`);
}

function endedEarly(answer: HttpAnswer, offset: number, descriptor: Descriptor): TryAgain {
  const message = `${shownUrl(answer.url)} ended after ${offset} of ${descriptor.size} bytes`;
  return new TryAgain(new OciError("transfer-broken", message));
}

function wrongSize(answer: HttpAnswer, descriptor: Descriptor, has: string): OciError {
  return new OciError(
    "size-mismatch",
    `${shownUrl(answer.url)} has ${has === "more" ? "more than" : has} the ${descriptor.size} bytes that the manifest says`,
  );
}
