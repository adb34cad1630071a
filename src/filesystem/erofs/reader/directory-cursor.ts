import type { DirectoryEntry } from "./directory-block.ts";
import type { DirectoryBlock, ErofsImage } from "./erofs-image.ts";
import type { Inode } from "./inode-parser.ts";
import { isDotEntry } from "./lookup.ts";

/**
 * Steps through the entries of a directory without `.` and `..`, so that several directories can be read side by side:
 * `current` is the entry at hand, undefined at the end.
 */
export class DirectoryCursor {
  current: DirectoryEntry | undefined;
  readonly #blocks: AsyncGenerator<DirectoryBlock>;
  #entries: readonly DirectoryEntry[] = [];
  #next = 0;

  private constructor(image: ErofsImage, directory: Inode) {
    this.#blocks = image.directoryBlocks(directory);
  }

  /** A cursor at the first entry. Throws `ErofsError`, as does `nextBlock`. */
  static async open(image: ErofsImage, directory: Inode): Promise<DirectoryCursor> {
    const cursor = new DirectoryCursor(image, directory);
    if (!cursor.step()) await cursor.nextBlock();
    return cursor;
  }

  /** Goes to the next entry of the block at hand; false when there is none and `nextBlock` must be called. */
  step(): boolean {
    while (this.#next < this.#entries.length) {
      const entry = this.#entries[this.#next++];
      if (isDotEntry(entry)) continue;
      this.current = entry;
      return true;
    }
    return false;
  }

  async nextBlock(): Promise<void> {
    do {
      const { done, value } = await this.#blocks.next();
      if (done) {
        this.current = undefined;
        return;
      }
      this.#entries = value.entries;
      this.#next = 0;
    } while (!this.step());
  }

  async advance(): Promise<void> {
    if (!this.step()) await this.nextBlock();
  }
}
