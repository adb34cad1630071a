import type { Writable } from "node:stream";

/** What waits for a reader who is slow, beside what the stream itself holds (some 16 KiB and the socket's buffer). */
const maxWaitingBytes = 256 << 10;

/**
 * Writes lines of JSON to a reader who may be slow, or not read at all: events that wait for too long give way to newer ones, and a line
 * `{"dropped": N}` stands where they were. The end always comes, after all that still waits.
 */
export class EventLines {
  readonly #stream: Writable;
  readonly #maxWaitingBytes: number;
  readonly #waiting: string[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #end: string | undefined;

  constructor(stream: Writable, bounds: { readonly maxWaitingBytes?: number } = {}) {
    this.#stream = stream;
    this.#maxWaitingBytes = bounds.maxWaitingBytes ?? maxWaitingBytes;
    stream.on("drain", () => this.#flush());
  }

  /** What is held for the reader here. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  event(event: object): void {
    if (this.#end !== undefined) return;
    const line = lineOf({ event });
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#flush();
    while (this.#waitingBytes > this.#maxWaitingBytes) this.#drop();
  }

  /** The last line; the stream ends with it. */
  end(last: object): void {
    this.#end ??= lineOf(last);
    this.#flush();
  }

  #drop(): void {
    this.#waitingBytes -= this.#waiting.shift()?.length ?? 0;
    this.#dropped++;
  }

  #flush(): void {
    while (!this.#stream.writableNeedDrain && !this.#stream.writableEnded) {
      if (this.#dropped > 0) {
        this.#stream.write(lineOf({ dropped: this.#dropped }));
        this.#dropped = 0;
        continue;
      }
      const line = this.#waiting.shift();
      if (line !== undefined) {
        this.#waitingBytes -= line.length;
        this.#stream.write(line);
      } else if (this.#end !== undefined) {
        this.#stream.end(this.#end);
      } else return;
    }
  }
}

function lineOf(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
