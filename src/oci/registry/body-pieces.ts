import type { Readable } from "node:stream";

/** Sockets give at most 64 KiB at once; each piece that is handed on costs some ten microseconds in all who see it. */
const pieceBytes = 256 << 10;

/** Pieces that may wait for the reader before the socket is held up. */
const piecesAhead = 2;

export type BodyPiecesOptions = {
  /** Of the whole body, where the server says so. */
  readonly sizeBytes: number | undefined;
  /** Told of each arrival and how long it was waited for; what it throws ends the body. */
  readonly onArrival: (bytes: number, waitedMs: number) => void;
};

/**
 * The bytes of `body` in pieces of 256 KiB (the last may be shorter), each in a buffer of its own that nobody else holds. What came before a
 * failure is given before it is thrown. Leaving the loop destroys `body`.
 */
export async function* bodyPieces(body: Readable, options: BodyPiecesOptions): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { onArrival } = options;
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let left = options.sizeBytes;
  let piece: Uint8Array<ArrayBuffer> | undefined;
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
      piece ??= unfilled(Math.max(1, Math.min(pieceBytes, left ?? pieceBytes)));
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
    if (piece !== undefined && used > 0) yield (piece as Uint8Array<ArrayBuffer>).slice(0, used);
    if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
  } finally {
    body.off("data", onData).off("end", onEnd).off("close", onEnd);
    if (!hasEnded) body.destroy();
  }
}

/** Zeroing what is filled right away would cost as much as a copy. */
function unfilled(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer);
}
