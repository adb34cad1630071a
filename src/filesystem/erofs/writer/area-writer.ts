import type { RandomAccessOutput } from "./output.ts";

const segmentBytes = 1 << 20;
const segmentsInMemory = 8;

type Segment = { readonly bytes: Uint8Array; lastUse: number; isDirty: boolean };

/**
 * Writes an area in nearly ascending order through a few buffers of 1 MiB. Positions are bytes from the start of the area;
 * nothing else writes to it meanwhile.
 */
export class AreaWriter {
  readonly #output: RandomAccessOutput;
  readonly #start: number;
  readonly #segments = new Map<number, Segment>();
  /** One past the highest segment that was ever in memory: those above need not be read. */
  #fresh = 0;
  #clock = 0;

  constructor(output: RandomAccessOutput, startBytes: number) {
    this.#output = output;
    this.#start = startBytes;
  }

  /** Returns a promise only when a buffer had to be written or read first: with millions of inodes, awaiting each costs. */
  write(bytes: Uint8Array, position: number): Promise<void> | undefined {
    const index = Math.floor(position / segmentBytes);
    const offset = position - index * segmentBytes;
    const segment = this.#segments.get(index);
    if (segment === undefined || offset + bytes.length > segmentBytes) return this.#write(bytes, position);
    segment.bytes.set(bytes, offset);
    segment.isDirty = true;
    segment.lastUse = ++this.#clock;
    return undefined;
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const index = Math.floor((position + done) / segmentBytes);
      const offset = position + done - index * segmentBytes;
      const length = Math.min(bytes.length - done, segmentBytes - offset);
      const segment = this.#segments.get(index) ?? (await this.#load(index));
      segment.bytes.set(bytes.subarray(done, done + length), offset);
      segment.isDirty = true;
      segment.lastUse = ++this.#clock;
      done += length;
    }
  }

  /** Everything written is in the output; the area is filled up to `endBytes`. */
  async finish(endBytes: number): Promise<void> {
    for (const [index, segment] of [...this.#segments].sort(([a], [b]) => a - b)) {
      const end = Math.min(segmentBytes, endBytes - index * segmentBytes);
      if (segment.isDirty && end > 0)
        await this.#output.write(segment.bytes.subarray(0, end), this.#start + index * segmentBytes);
      this.#segments.delete(index);
    }
  }

  async #load(index: number): Promise<Segment> {
    const evicted = this.#segments.size >= segmentsInMemory ? await this.#evict() : undefined;
    const bytes = evicted ?? new Uint8Array(segmentBytes);
    if (index < this.#fresh) await this.#output.read(bytes, this.#start + index * segmentBytes);
    else evicted?.fill(0);
    this.#fresh = Math.max(this.#fresh, index + 1);
    const segment = { bytes, lastUse: ++this.#clock, isDirty: false };
    this.#segments.set(index, segment);
    return segment;
  }

  async #evict(): Promise<Uint8Array> {
    const [index, segment] = [...this.#segments].reduce((a, b) => (a[1].lastUse <= b[1].lastUse ? a : b));
    this.#segments.delete(index);
    if (segment.isDirty) await this.#output.write(segment.bytes, this.#start + index * segmentBytes);
    return segment.bytes;
  }
}
