import type { RandomAccessOutput } from "../../../filesystem/erofs/writer/output.ts";

const pieceBytes = 1 << 20;

/** Copies `bytes` from `from` to `to`; the ranges may overlap when `to` is the lower. */
export async function moveBytes(file: RandomAccessOutput, from: number, to: number, bytes: number): Promise<void> {
  if (from === to) return;
  const buffer = new Uint8Array(Math.min(pieceBytes, bytes));
  for (let done = 0; done < bytes; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, bytes - done));
    await file.read(piece, from + done);
    await file.write(piece, to + done);
  }
}
