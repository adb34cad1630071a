import { openFileSource } from "../../filesystem/byte-source.ts";
import { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";

/** Opens the file system of a disk, runs `work` and closes it. Throws `ErofsError`, or what `open(2)` gives. */
export async function withImage<T>(path: string, work: (image: ErofsImage) => Promise<T>): Promise<T> {
  const source = await openFileSource(path);
  try {
    return await work(await ErofsImage.open(source));
  } finally {
    await source.close();
  }
}
