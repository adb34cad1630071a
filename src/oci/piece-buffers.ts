/** Bytes of the pieces in which streams are handed on, where there is so much: each costs some ten microseconds in all who see it. */
export const pieceBytes = 1 << 20;

/** Smaller pieces get memory of their own size, which is not used again. */
const smallPieceBytes = 256 << 10;

/** Buffers that wait to be used again, at most; any more are left to the garbage collector. */
const mostSpare = 8;

const spare: SharedArrayBuffer[] = [];

/**
 * Memory for a piece of at most `pieceBytes`, that nobody else holds. Large ones are shared with other threads rather than moved to them, and
 * used again once they are given back: neither needs the garbage collector, nor fresh memory from the system.
 */
export function unfilledPiece(sizeBytes: number): Uint8Array {
  // Zeroing what is filled right away would cost as much as a copy.
  if (sizeBytes <= smallPieceBytes) return new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer);
  return new Uint8Array(spare.pop() ?? new SharedArrayBuffer(pieceBytes), 0, sizeBytes);
}

/** Whether the piece, or what is left of it, came from here and is shared. Nobody else holds its buffer then. */
export function isSharedPiece(piece: Uint8Array): boolean {
  return piece.buffer instanceof SharedArrayBuffer && piece.buffer.byteLength === pieceBytes;
}

/** Gives the memory of a shared piece back: nobody may look at it any more. Nothing happens to other pieces. */
export function recyclePiece(piece: Uint8Array): void {
  if (spare.length < mostSpare && piece.buffer instanceof SharedArrayBuffer && isSharedPiece(piece))
    spare.push(piece.buffer);
}
