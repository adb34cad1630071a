import koffi from "koffi";

/** `POSIX_FADV_DONTNEED` (Linux `include/uapi/linux/fadvise.h`). */
const dontNeed = 4;

type Advise = { async(...parameters: unknown[]): void };

let advise: Advise | undefined;
let isKnown = false;

/**
 * Lets the page cache forget a range of a file, as far as it is on the disk (`posix_fadvise`; nothing where there is no such call).
 * Gigabytes that are written or read once and not again would push out what other programs use, and a virtual machine has to be given
 * memory for them: that can cost more than writing them.
 */
export async function dropFromPageCache(fd: number, startBytes: number, lengthBytes: number): Promise<void> {
  if (!isKnown) {
    isKnown = true;
    try {
      advise = koffi.load(null).func("int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)");
    } catch {
      advise = undefined;
    }
  }
  const call = advise;
  // A length of 0 would mean all the rest.
  if (call === undefined || lengthBytes <= 0) return;
  await new Promise<void>((resolve) => call.async(fd, startBytes, lengthBytes, dontNeed, () => resolve()));
}
