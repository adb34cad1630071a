import { inputsHeld } from "../../../layers/compression.ts";

/** Passes `input` on to `readLayer`, and tells of each piece once that does not look at it any more; not of the last ones. */
export async function* releasing(
  input: AsyncIterable<Uint8Array>,
  release: (piece: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  const held: Uint8Array[] = [];
  for await (const piece of input) {
    yield piece;
    held.push(piece);
    const used = held.length < inputsHeld ? undefined : held.shift();
    if (used !== undefined) release(used);
  }
}
