import { type FSWatcher, watch } from "node:fs";
import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { tryStorage } from "../../runtime/host/ask-storage.ts";
import { isDiskName } from "./disk-candidates.ts";
import { folderRefusal } from "./trusted-path.ts";

/** The names and rights of some files. */
const answerMs = 5000;

/** Each look takes a wake-up for each folder above. */
const looksPerRights = 5;

/**
 * Notices what happens in a folder: by inotify, and by a look at the folder itself now and then, as it may be made, replaced, mounted over
 * or unmounted, which the watch of what was there before does not see. Without inotify (its limits are reached) that look is all.
 */
export class FolderWatch {
  readonly #folder: string;
  readonly #onChange: (path: string | undefined, isContent: boolean) => void;
  #watcher: FSWatcher | undefined;
  /** Which folder is watched. */
  #watched = "";
  /** Why it was not trusted when that was looked at last. */
  #refusal: string | undefined;
  #looks = 0;
  #isLooking = false;
  #isClosed = false;
  /** What the last look saw, where nothing is watched. */
  #seen: string | undefined;

  /** `onChange` gets the path of what changed, where it is known; `isContent` is false when names came or went. */
  constructor(folder: string, onChange: (path: string | undefined, isContent: boolean) => void) {
    this.#folder = folder;
    this.#onChange = onChange;
  }

  /** Whether inotify tells of changes at once. */
  get isWatching(): boolean {
    return this.#watcher !== undefined;
  }

  /** The look; to be called at the start and then now and then. */
  async look(): Promise<void> {
    // One whose file system hangs is not asked again until it answers.
    if (this.#isLooking) return;
    const look = async () => {
      this.#isLooking = true;
      try {
        await this.#look();
      } finally {
        this.#isLooking = false;
      }
    };
    await tryStorage(look, answerMs);
  }

  async #look(): Promise<void> {
    const place = await placeOf(this.#folder);
    if (this.#looks++ % looksPerRights === 0) await this.#lookAtRights();
    if (place === this.#watched && (place === "" || this.isWatching)) return;
    const isOther = place !== this.#watched;
    if (this.#isClosed) return;
    if (isOther) {
      this.#stop();
      this.#watched = place;
    }
    if (place !== "" && this.#start()) {
      // What happened before the watch began.
      this.#seen = undefined;
      this.#onChange(undefined, false);
      return;
    }
    const seen = await fingerprint(this.#folder);
    if (isOther || seen !== this.#seen) this.#onChange(undefined, false);
    this.#seen = seen;
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  #stop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** The rights of folders above change unseen, too. */
  async #lookAtRights(): Promise<void> {
    const refusal = await folderRefusal(this.#folder).catch(() => undefined);
    const isOther = refusal !== this.#refusal;
    this.#refusal = refusal;
    if (isOther) this.#onChange(undefined, false);
  }

  #start(): boolean {
    try {
      const watcher = watch(this.#folder, (event, name) => {
        if (this.#watcher !== watcher) return;
        const path = name === null ? undefined : join(this.#folder, name);
        if (name === null || isDiskName(name)) this.#onChange(path, event === "change");
      });
      watcher.on("error", () => {
        if (this.#watcher === watcher) this.#stop();
      });
      this.#watcher = watcher;
      return true;
    } catch {
      // ENOSPC, EMFILE: the limits of inotify; it is tried again at the next look.
      return false;
    }
  }
}

/** Which folder it is; empty when there is none. */
async function placeOf(folder: string): Promise<string> {
  const stats = await stat(folder).catch(() => undefined);
  return stats?.isDirectory() ? `${stats.dev}:${stats.ino}` : "";
}

/** Another text whenever a disk in the folder is another one. */
async function fingerprint(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const files: string[] = [];
  // One after the other: the file system may hang.
  for (const name of names.filter(isDiskName).sort()) {
    const stats = await lstat(join(folder, name), { bigint: true }).catch(() => undefined);
    files.push(stats === undefined ? name : `${name}\0${stats.ino} ${stats.size} ${stats.ctimeNs}`);
  }
  return files.join("\0");
}
