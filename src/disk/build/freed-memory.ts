import koffi from "koffi";

/** No more often than this: it walks every free piece of memory. */
const intervalMs = 500;

let trim: ((pad: number) => number) | undefined;
let isKnown = false;
let lastMs = 0;

/**
 * Gives memory that was freed back to the system (glibc `malloc_trim`; nothing elsewhere). What a layer took while it was read lies
 * scattered among what stays, and would add up to a third of a large build's memory.
 */
export function returnFreedMemory(isUrgent = false): void {
  const now = performance.now();
  if (!isUrgent && now - lastMs < intervalMs) return;
  if (!isKnown) {
    isKnown = true;
    try {
      trim = koffi.load(null).func("int malloc_trim(size_t pad)");
    } catch {
      trim = undefined;
    }
  }
  trim?.(0);
  lastMs = performance.now();
}
