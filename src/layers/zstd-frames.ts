import { LayerError } from "./layer-error.ts";

/** Frame header at most: magic 4, descriptor 1, window 1, dictionary 4, size 8. */
const maximumHeaderBytes = 18;
const frameMagic = 0xfd2f_b528;
const skippableMagic = 0x184d_2a50;

type Part = "frame" | "block" | "blockBody" | "checksum" | "skippable";

/**
 * Cuts a zstd stream (RFC 8878) so that no piece goes past the end of a frame, and leaves skippable frames out: Node's decompressor ignores
 * whatever follows a frame within one piece. Throws `LayerError` when the stream ends within a frame or something else follows one.
 */
export async function* wholeZstdFrames(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const walker = new FrameWalker();
  let undecided = new Uint8Array(0);
  for await (const next of input) {
    const piece = undecided.length > 0 ? Buffer.concat([undecided, next]) : next;
    undecided = new Uint8Array(0);
    let at = 0;
    while (at < piece.length) {
      const { end, kind } = walker.walk(piece, at);
      if (kind === "content") yield piece.subarray(at, end);
      if (kind === "undecided") undecided = new Uint8Array(piece.subarray(at, end));
      at = end;
    }
  }
  if (undecided.length > 0) throw damaged("it is cut short");
  walker.finish();
}

type Walked = { readonly end: number; readonly kind: "content" | "skippable" | "undecided" };

/** Follows the structure of frames over pieces of any size. */
class FrameWalker {
  #part: Part = "frame";
  /** Bytes of a header that came so far; its end may come with the next piece. */
  #header = Buffer.alloc(0);
  #bodyBytes = 0;
  #hasChecksum = false;
  #isLastBlock = false;
  #isSkippable = false;

  /** Walks from `start` to the end of the frame or of the piece. A header that is cut by the end of the piece is forgotten again. */
  walk(piece: Uint8Array, start: number): Walked {
    let at = start;
    while (at < piece.length) {
      if (this.#part === "blockBody" || this.#part === "skippable" || this.#part === "checksum") {
        const size = Math.min(this.#bodyBytes, piece.length - at);
        this.#bodyBytes -= size;
        at += size;
      } else {
        this.#header = Buffer.concat([this.#header, piece.subarray(at, at + 1)]);
        at++;
        if (this.#part === "frame") this.#frameHeader();
        else this.#blockHeader();
        if (this.#part === "frame" || this.#part === "block") continue;
      }
      if (this.#bodyBytes === 0 && this.#endPart()) return { end: at, kind: this.#kind() };
    }
    if (this.#part !== "frame") return { end: at, kind: this.#kind() };
    this.#header = Buffer.alloc(0);
    return { end: at, kind: "undecided" };
  }

  #kind(): Walked["kind"] {
    return this.#isSkippable ? "skippable" : "content";
  }

  finish(): void {
    if (this.#part !== "frame") throw damaged("it is cut short");
  }

  #frameHeader(): void {
    const header = this.#header;
    if (header.length < 4) return;
    const magic = header.readUInt32LE(0);
    this.#isSkippable = (magic & 0xffff_fff0) >>> 0 === skippableMagic;
    if (this.#isSkippable) {
      if (header.length < 8) return;
      this.#begin("skippable", header.readUInt32LE(4));
      return;
    }
    if (magic !== frameMagic) throw damaged("other bytes follow its end");
    if (header.length < 5) return;
    const descriptor = header[4] as number;
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
    const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
    const length = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
    if (header.length < Math.min(length, maximumHeaderBytes)) return;
    this.#hasChecksum = (descriptor & 4) !== 0;
    this.#begin("block", 0);
  }

  #blockHeader(): void {
    if (this.#header.length < 3) return;
    const header = this.#header.readUIntLE(0, 3);
    this.#isLastBlock = (header & 1) !== 0;
    const isRun = ((header >> 1) & 3) === 1;
    this.#begin("blockBody", isRun ? 1 : header >> 3);
  }

  #begin(part: Part, bodyBytes: number): void {
    this.#part = part;
    this.#bodyBytes = bodyBytes;
    this.#header = Buffer.alloc(0);
  }

  /** A body is complete. Returns whether the frame is. */
  #endPart(): boolean {
    if (this.#part === "blockBody" && !this.#isLastBlock) {
      this.#begin("block", 0);
      return false;
    }
    if (this.#part === "blockBody" && this.#hasChecksum) {
      this.#begin("checksum", 4);
      return false;
    }
    this.#begin("frame", 0);
    return true;
  }
}

function damaged(reason: string): LayerError {
  return new LayerError("corrupt-compression", `the layer's zstd stream is damaged: ${reason}`);
}
