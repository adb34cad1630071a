import type { ByteRange } from "../../../oci/resolved-image.ts";

type Span = { start: number; end: number };

/** Which bytes of a file are there: spans in order, none of which touch. */
export class RangeSet {
  #spans: Span[] = [];
  #totalBytes = 0;

  /** How many bytes all of them are. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Bytes from the beginning of the file without a gap. */
  get prefixBytes(): number {
    const [first] = this.#spans;
    return first?.start === 0 ? first.end : 0;
  }

  /** Spans, in order. */
  get spans(): readonly Readonly<Span>[] {
    return this.#spans;
  }

  /** Adds the bytes from `start` up to, not including, `end`, some of which may be there already; how many were not. */
  add(start: number, end: number): number {
    if (start >= end) return 0;
    const before = this.#totalBytes;
    // Those that begin later than the new one ends stay, and those that end before it begins.
    let from = this.#spans.length;
    while (from > 0 && (this.#spans[from - 1] as Span).end >= start) from--;
    let to = from;
    const merged: Span = { start, end };
    for (; to < this.#spans.length && (this.#spans[to] as Span).start <= end; to++) {
      const span = this.#spans[to] as Span;
      merged.start = Math.min(merged.start, span.start);
      merged.end = Math.max(merged.end, span.end);
      this.#totalBytes -= span.end - span.start;
    }
    this.#spans.splice(from, to - from, merged);
    this.#totalBytes += merged.end - merged.start;
    return this.#totalBytes - before;
  }

  /** What is missing of a file of `sizeBytes`, in order, in pieces of at most `mostBytes`. */
  gaps(sizeBytes: number, mostBytes: number): ByteRange[] {
    const gaps: ByteRange[] = [];
    const add = (start: number, end: number) => {
      for (let offset = start; offset < end; offset += mostBytes)
        gaps.push({ offset, length: Math.min(mostBytes, end - offset) });
    };
    let position = 0;
    for (const { start, end } of this.#spans) {
      add(position, Math.min(start, sizeBytes));
      position = end;
    }
    add(position, sizeBytes);
    return gaps;
  }

  clear(): void {
    this.#spans = [];
    this.#totalBytes = 0;
  }
}
