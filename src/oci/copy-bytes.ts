/** Up to here both ways take the same time. */
const shortBytes = 256;

/**
 * As `target.set(bytes, at)`. That copies byte by byte where memory is shared between threads and the two are not aligned alike (V8's
 * `Relaxed_Memmove`, `src/base/atomicops.h`), several times slower than `memmove`. Node has that for parts of an array, and V8's way for
 * a whole one: so the last byte is copied by itself. The two must not overlap. Throws `RangeError` when there is no room.
 */
export function copyBytes(target: Uint8Array, bytes: Uint8Array, at: number): void {
  const last = bytes.length - 1;
  if (last < shortBytes || at + last >= target.length) {
    target.set(bytes, at);
    return;
  }
  Buffer.prototype.copy.call(bytes, target, at, 0, last);
  target[at + last] = bytes[last];
}
