import { readSync } from "node:fs";
import type { ByteSource } from "../../filesystem/byte-source.ts";
import { checkRange } from "../../filesystem/byte-source.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { callHere } from "../../runtime/host/system-calls.ts";

/** Linux include/uapi/linux/fadvise.h. */
const dontNeed = 4;

/** As much is read until the page cache is told to forget it. */
const forgetBytes = 16 << 20;

export type DescriptorSourceOptions = {
  readonly sizeBytes: number;
  /** What it throws ends the read. */
  readonly beforeRead: () => void;
};

/**
 * Reads in the calling thread, at the priority of that thread, which threads of the pool do not have. What was read is dropped from the page
 * cache: a disk that is read once from end to end would push out what other programs use. `close` leaves the descriptor open.
 */
export function descriptorSource(
  name: string,
  fd: number,
  { sizeBytes, beforeRead }: DescriptorSourceOptions,
): ByteSource {
  let forgetFrom = 0;
  const source: ByteSource = {
    name,
    sizeBytes,
    async read(position, target) {
      checkRange(source, position, target.length);
      beforeRead();
      let done = 0;
      while (done < target.length) {
        const count = readSync(fd, target, done, target.length - done, position + done);
        if (count === 0) throw new ErofsError("truncated", `${name} ends at byte ${position + done}`);
        done += count;
      }
      const end = position + target.length;
      if (position < forgetFrom) forgetFrom = position;
      if (end - forgetFrom < forgetBytes) return;
      callHere("posix_fadvise", fd, forgetFrom, end - forgetFrom, dontNeed);
      forgetFrom = end;
    },
    close: async () => {},
  };
  return source;
}
