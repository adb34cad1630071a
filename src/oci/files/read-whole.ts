import { documentTooLarge } from "../resolve-image.ts";
import type { FileTree } from "./file-tree.ts";

export type ReadWholeOptions = { readonly maxBytes: number; readonly limit: string; readonly signal: AbortSignal };

/** All bytes of a small file, or `undefined` when there is none. Throws `OciError` (limit-exceeded…). */
export async function readWhole(tree: FileTree, path: string, options: ReadWholeOptions): Promise<Buffer | undefined> {
  const file = await tree.open(path);
  if (!file) return undefined;
  try {
    if (file.size > options.maxBytes)
      throw documentTooLarge(`${path} in ${tree.path}`, options.maxBytes, options.limit);
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read(options.signal)) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    await file.close();
  }
}
