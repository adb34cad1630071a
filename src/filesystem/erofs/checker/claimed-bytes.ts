import { slotBytes } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";

const pageBytes = 4096;
const slotsPerPage = pageBytes * 8;
const defaultMaxBytes = 16 * 2 ** 30;

/**
 * Which bytes of an image inodes and directories have taken, in units of 32, so that none is used twice. This also bounds
 * the work of a walk: each byte of metadata is looked at for one owner only.
 */
export class ClaimedBytes {
  readonly #pages = new Map<number, Uint8Array>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes = defaultMaxBytes) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the range; false when some of it is already taken. Throws `ErofsError` `limit` when an image has more metadata
   * than a sane one can have.
   */
  claim(position: number, length: number): boolean {
    this.#bytes += length;
    if (this.#bytes > this.#maxBytes) {
      throw new ErofsError("limit", `the image has more than ${this.#maxBytes} bytes of metadata`);
    }
    const end = Math.ceil((position + length) / slotBytes);
    let free = true;
    for (let slot = Math.floor(position / slotBytes); slot < end; slot++) {
      const number = Math.floor(slot / slotsPerPage);
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = new Uint8Array(pageBytes);
        this.#pages.set(number, page);
      }
      const inPage = slot % slotsPerPage;
      const bit = 1 << (inPage & 7);
      if ((page[inPage >>> 3] & bit) !== 0) free = false;
      page[inPage >>> 3] |= bit;
    }
    return free;
  }
}
