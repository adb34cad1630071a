import assert from "node:assert/strict";
import { test } from "node:test";
import { isSharedPiece, pieceBytes, recyclePiece, unfilledPiece } from "./piece-buffers.ts";

test("a large piece is shared, and its memory comes again once it is given back", () => {
  const piece = unfilledPiece(pieceBytes);
  assert.ok(isSharedPiece(piece) && isSharedPiece(piece.subarray(5)));
  const other = unfilledPiece(pieceBytes - 1);
  assert.equal(other.length, pieceBytes - 1);
  assert.notEqual(other.buffer, piece.buffer);
  recyclePiece(piece.subarray(5));
  assert.equal(unfilledPiece(pieceBytes).buffer, piece.buffer);
});

test("small pieces are alone in a buffer of their size, which is not used again", () => {
  const piece = unfilledPiece(1000);
  assert.equal(piece.buffer.byteLength, 1000);
  assert.ok(!isSharedPiece(piece));
  recyclePiece(piece);
  assert.notEqual(unfilledPiece(1000).buffer, piece.buffer);
});

test("what came from elsewhere is never taken", () => {
  const foreign = new Uint8Array(new SharedArrayBuffer(100));
  assert.ok(!isSharedPiece(foreign));
  recyclePiece(foreign);
  assert.notEqual(unfilledPiece(pieceBytes).buffer, foreign.buffer);
});
