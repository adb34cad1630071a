import { blockBytes, inode, slotBytes } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";

/** Blocks with room that are kept in mind; more would fill blocks better and scatter directories wider. */
const openBlocks = 16;

/** Space left below which a block is not worth keeping in mind: the smallest directory takes 64 + 27 bytes. */
const worthwhile = 96;

/**
 * Hands out places in a metadata area; a pure function of the requests and their order. Positions are bytes from the start
 * of the area.
 */
export class MetadataAllocator {
  /** NID 0 is never used: `readdir` of the C library takes inode number 0 for a deleted entry. */
  #blocks = 1;
  /** Where the next run of inodes goes on; at the end of a block when there is none. */
  #runEnd = 0;
  readonly #open: { start: number; used: number }[] = [{ start: 0, used: slotBytes }];

  get blockCount(): number {
    return this.#blocks;
  }

  /** Whole blocks, one after the other. */
  blocks(count: number): number {
    const position = this.#blocks * blockBytes;
    this.#blocks += count;
    // NIDs and block numbers are kept in 32 bits.
    if (this.#blocks * (blockBytes / slotBytes) > 0xffff_ffff)
      throw new ErofsError("limit", "more than 128 GiB of metadata: build several disks");
    return position;
  }

  /** `bytes` ≤ 4096 within one block, wherever there is room: for directories. */
  packed(bytes: number): number {
    const size = Math.ceil(bytes / slotBytes) * slotBytes;
    const found = this.#open.findIndex(({ used }) => used + size <= blockBytes);
    if (found !== -1) {
      const block = this.#open[found];
      const position = block.start + block.used;
      block.used += size;
      if (blockBytes - block.used < worthwhile) this.#open.splice(found, 1);
      return position;
    }
    const start = this.blocks(1);
    if (blockBytes - size >= worthwhile) {
      this.#open.push({ start, used: size });
      if (this.#open.length > openBlocks) this.#open.shift();
    }
    return start;
  }

  /**
   * The next inode of a run, right behind the one before unless it would break a rule: the first `together` bytes (the inode,
   * and what is inline) never cross a block. `bytes` may go on over following blocks.
   */
  next(bytes: number, together: number): number {
    const size = Math.ceil(bytes / slotBytes) * slotBytes;
    let position = this.#runEnd;
    const left = (blockBytes - (position % blockBytes)) % blockBytes;
    if (left < together || (left < size && this.#blocks * blockBytes !== position + left)) {
      position = this.blocks(Math.ceil(size / blockBytes));
    } else if (size > left) {
      this.blocks(Math.ceil((size - left) / blockBytes));
    }
    this.#runEnd = position + size;
    return position;
  }
}

/** Slot number of an inode at `position`. */
export function nidAt(position: number): number {
  return position / slotBytes;
}

/** Bytes of a directory or link that fit behind an inode with `xattrBytes` of xattrs. */
export function inlineRoom(xattrBytes: number): number {
  return Math.max(0, blockBytes - inode.bytes - xattrBytes);
}

/** Bytes from the start of the metadata area to inode `nid`. */
export function positionOf(nid: number): number {
  return nid * slotBytes;
}
