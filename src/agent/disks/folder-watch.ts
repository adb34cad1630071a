import { type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import { askLook } from "./ask-look.ts";
import { isDiskName } from "./disk-candidates.ts";
import { type FolderParts, type FolderState, folderState } from "./folder-state.ts";

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

  /** The look; to be called at the start and then now and then. Waits so long for the folder; throws nothing. */
  async look(): Promise<void> {
    // One whose file system hangs is not asked again until it may answer.
    if (this.#isLooking) return;
    this.#isLooking = true;
    const parts: FolderParts = { withRights: this.#looks % looksPerRights === 0, withNames: !this.isWatching };
    const here = () => folderState(this.#folder, parts);
    let again: Promise<unknown> = Promise.resolve();
    try {
      const answer = await askLook({ type: "state", folder: this.#folder, parts }, here);
      if ("value" in answer) this.#compare(answer.value, parts);
      else again = "silent" in answer ? answer.silent : answer.unasked;
    } catch {
      // There was no process to ask; the next look may have one.
    }
    void again.then(() => {
      this.#isLooking = false;
    });
  }

  #compare({ place, refusal, names }: FolderState, { withRights }: FolderParts): void {
    if (this.#isClosed) return;
    this.#looks++;
    // The rights of folders above change unseen, too.
    if (withRights && refusal !== this.#refusal) this.#onChange(undefined, false);
    if (withRights) this.#refusal = refusal;
    if (place === this.#watched && (place === "" || this.isWatching)) return;
    const isOther = place !== this.#watched;
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
    if (isOther || names !== this.#seen) this.#onChange(undefined, false);
    this.#seen = names;
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  #stop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
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
