import { extname } from "node:path";
import { askStorage } from "../../runtime/host/ask-storage.ts";
import type { StorageAnswer } from "../../runtime/host/storage-protocol.ts";
import type { FolderParts } from "./folder-state.ts";
import type { Openable } from "./inspect-candidate.ts";

/** What a child of its own is asked. */
export type LookJob =
  | { readonly type: "inspect"; readonly candidate: Openable; readonly isFresh: boolean }
  | { readonly type: "folder"; readonly folder: string }
  | { readonly type: "file"; readonly path: string }
  | { readonly type: "realpath"; readonly folder: string }
  | { readonly type: "devices"; readonly path: string }
  | { readonly type: "state"; readonly folder: string; readonly parts: FolderParts };

/** For the names and rights of some files. */
export const folderAnswerMs = 5000;

/** Beside this file, be it a source or the bundle. */
const file = new URL(`./look-child${extname(import.meta.filename)}`, import.meta.url);

/** As `askStorage`: `here` does what a child does for `job`. */
export function askLook<T>(
  job: LookJob,
  here: () => Promise<T>,
  timeoutMs = folderAnswerMs,
): Promise<StorageAnswer<T>> {
  return askStorage({ here, elsewhere: { file, job }, timeoutMs });
}
