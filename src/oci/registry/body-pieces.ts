import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { copyBytes } from "../copy-bytes.ts";
import { isSharedPiece, pieceBytes, unfilledPiece } from "../piece-buffers.ts";
import { readDirectly } from "./direct-reads.ts";

/** Pieces that may wait for the reader before the socket is held up. */
const piecesAhead = 2;

/** Bodies that are worth a connection of their own, which with TLS costs more: one that was read around its parser cannot be used again. */
const directBytes = 512 << 10;
const directTlsBytes = 4 << 20;

export type BodyPiecesOptions = {
  /** Of the whole body, where the server says so. */
  readonly sizeBytes: number | undefined;
  /** Told of each arrival and how long it was waited for; what it throws ends the body. */
  readonly onArrival: (bytes: number, waitedMs: number) => void;
  /** Told when the socket is held up for the reader, and when it no longer is. */
  readonly onHold?: (isHeld: boolean) => void;
  /** `body` again, where it may be read around the HTTP parser. */
  readonly answer?: IncomingMessage;
};

/**
 * The bytes of `body` in pieces of 1 MiB (the last may be shorter), each in memory that nobody else holds: see `unfilledPiece`. What came before
 * a failure is given before it is thrown. Leaving the loop destroys `body`.
 */
export async function* bodyPieces(body: Readable, options: BodyPiecesOptions): AsyncGenerator<Uint8Array> {
  const { onArrival, onHold, answer } = options;
  const pieces: Uint8Array[] = [];
  let left = options.sizeBytes;
  let piece: Uint8Array | undefined;
  let used = 0;
  let failure: { readonly error: unknown } | undefined;
  let hasEnded = false;
  let isHeld = false;
  let wake: (() => void) | undefined;
  let since = performance.now();
  const space = (): Uint8Array => {
    piece ??= unfilledPiece(Math.max(1, Math.min(pieceBytes, left ?? pieceBytes)));
    return piece.subarray(used);
  };
  const fill = (bytes: number): void => {
    used += bytes;
    if (left !== undefined) left = Math.max(0, left - bytes);
    if (piece === undefined || used < piece.length) return;
    pieces.push(piece);
    piece = undefined;
    used = 0;
  };
  const arrive = (bytes: number): boolean => {
    try {
      onArrival(bytes, performance.now() - since);
      return true;
    } catch (error) {
      body.destroy();
      onError(error);
      return false;
    }
  };
  /** Something has come. Returns whether more may. */
  const goOn = (): boolean => {
    if (pieces.length > 0) wake?.();
    since = performance.now();
    if (pieces.length < piecesAhead) return true;
    isHeld = true;
    onHold?.(true);
    return false;
  };
  const onData = (chunk: Uint8Array): void => {
    if (!arrive(chunk.length)) return;
    for (let done = 0; done < chunk.length; ) {
      const room = space();
      const part = done === 0 && chunk.length <= room.length ? chunk : chunk.subarray(done, done + room.length);
      copyBytes(room, part, 0);
      done += part.length;
      fill(part.length);
    }
    if (!goOn()) body.pause();
  };
  const onEnd = (): void => {
    hasEnded = true;
    wake?.();
  };
  const onError = (error: unknown): void => {
    failure ??= { error };
    onEnd();
  };
  const onFilled = (bytes: number): boolean => {
    if (!arrive(bytes)) return false;
    fill(bytes);
    if (left !== 0) return goOn();
    onEnd();
    return false;
  };
  body.on("close", onEnd).on("error", onError);
  const direct =
    answer !== undefined && left !== undefined && left >= leastDirectBytes(answer)
      ? readDirectly(answer, { space, filled: onFilled })
      : undefined;
  if (direct === undefined) body.on("data", onData).on("end", onEnd);
  try {
    for (;;) {
      const next = pieces.shift();
      if (next !== undefined) {
        yield next;
        if (pieces.length < piecesAhead && isHeld) {
          isHeld = false;
          since = performance.now();
          onHold?.(false);
          if (direct === undefined) body.resume();
          else direct.resume();
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
    direct?.stop();
    if (!hasEnded || direct !== undefined) body.destroy();
  }
}

function leastDirectBytes({ socket }: IncomingMessage): number {
  return "encrypted" in socket ? directTlsBytes : directBytes;
}

/** Alone in its buffer, unless that is shared anyway. */
function lastPiece(piece: Uint8Array, length: number): Uint8Array {
  return isSharedPiece(piece) ? piece.subarray(0, length) : piece.slice(0, length);
}
