/** gRPC over HTTP/2, "Length-Prefixed-Message": one byte compressed flag, four bytes big-endian length. */
const prefixBytes = 5;

/** containerd sends at most 16 MiB in a message by default; more than this is no answer of a runtime. */
export const maxMessageBytes = 64 << 20;

/** A message ready for the stream. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(prefixBytes + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, prefixBytes);
  return framed;
}

/** Cuts what arrives into messages. */
export class FrameSplitter {
  readonly #chunks: Buffer[] = [];
  #heldBytes = 0;
  #neededBytes = prefixBytes;

  /** The messages that this chunk completes. Throws on compressed ones (none were asked for) and on those over the limit. */
  *push(chunk: Buffer): Generator<Uint8Array> {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    while (this.#heldBytes >= this.#neededBytes) {
      const held = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
      const end = prefixBytes + messageBytes(held);
      this.#chunks.splice(0, this.#chunks.length, held);
      if (held.length < end) {
        this.#neededBytes = end;
        return;
      }
      yield held.subarray(prefixBytes, end);
      const rest = held.subarray(end);
      this.#chunks.splice(0, 1, ...(rest.length === 0 ? [] : [rest]));
      this.#heldBytes = rest.length;
      this.#neededBytes = prefixBytes;
    }
  }

  /** True when the stream ended within a message. */
  get isInside(): boolean {
    return this.#heldBytes > 0;
  }
}

function messageBytes(held: Buffer): number {
  const length = held.readUInt32BE(1);
  if (held.readUInt8(0) !== 0) throw new Error("a compressed message, which was not asked for");
  if (length > maxMessageBytes) throw new Error(`a message of ${length} bytes; at most ${maxMessageBytes} are read`);
  return length;
}
