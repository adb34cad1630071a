import type { Readable } from "node:stream";
import { isSharedPiece, pieceBytes, unfilledPiece } from "../piece-buffers.ts";

/** Pieces that may wait for the reader before the socket is held up. */
const piecesAhead = 2;

export type BodyPiecesOptions = {
  /** Of the whole body, where the server says so. */
  readonly sizeBytes: number | undefined;
  /** Told of each arrival and how long it was waited for; what it throws ends the body. */
  readonly onArrival: (bytes: number, waitedMs: number) => void;
};

/**
 * The bytes of `body` in pieces of 1 MiB (the last may be shorter), each in memory that nobody else holds: see `unfilledPiece`. What came before
 * a failure is given before it is thrown. Leaving the loop destroys `body`.
 */
export async function* bodyPieces(body: Readable, options: BodyPiecesOptions): AsyncGenerator<Uint8Array> {
  const { onArrival } = options;
  const pieces: Uint8Array[] = [];
  let left = options.sizeBytes;
  let piece: Uint8Array | undefined;
  let used = 0;
  let failure: { readonly error: unknown } | undefined;
  let hasEnded = false;
  let wake: (() => void) | undefined;
  let since = performance.now();
  const onData = (chunk: Uint8Array): void => {
    try {
      onArrival(chunk.length, performance.now() - since);
    } catch (error) {
      body.destroy();
      onError(error);
      return;
    }
    for (let done = 0; done < chunk.length; ) {
      piece ??= unfilledPiece(Math.max(1, Math.min(pieceBytes, left ?? pieceBytes)));
      const length = Math.min(chunk.length - done, piece.length - used);
      piece.set(done === 0 && length === chunk.length ? chunk : chunk.subarray(done, done + length), used);
      done += length;
      used += length;
      if (left !== undefined) left = Math.max(0, left - length);
      if (used === piece.length) {
        pieces.push(piece);
        piece = undefined;
        used = 0;
      }
    }
    if (pieces.length >= piecesAhead) body.pause();
    if (pieces.length > 0) wake?.();
    since = performance.now();
  };
  const onEnd = (): void => {
    hasEnded = true;
    wake?.();
  };
  const onError = (error: unknown): void => {
    failure ??= { error };
    onEnd();
  };
  body.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError);
  try {
    for (;;) {
      const next = pieces.shift();
      if (next !== undefined) {
        yield next;
        if (pieces.length < piecesAhead && body.isPaused()) {
          since = performance.now();
          body.resume();
        }
      } else if (hasEnded) break;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    if (piece !== undefined && used > 0) yield lastPiece(piece, used);
    if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
  } finally {
    body.off("data", onData).off("end", onEnd).off("close", onEnd);
    if (!hasEnded) body.destroy();
  }
}

/** Alone in its buffer, unless that is shared anyway. */
function lastPiece(piece: Uint8Array, length: number): Uint8Array {
  return isSharedPiece(piece) ? piece.subarray(0, length) : piece.slice(0, length);
}
