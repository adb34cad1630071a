import { deviceNews } from "./configured-devices.ts";
import { FolderWatch } from "./folder-watch.ts";

/** Where disks are looked for. */
export type DiskPlaces = {
  /** Absolute paths. */
  readonly folders: readonly string[];
  /** Patterns of block devices, as `configuredDevices` takes them. */
  readonly devices: readonly string[];
  /** Lines and ids of disks that may be injected from devices. */
  readonly allow: readonly string[];
};

/** Several events of one action, such as a rename, are one change. */
const foldMs = 50;

/**
 * Notices changes in all places: of folders at once, of devices and of folders that come and go at each `look`. `onChange` is told once for
 * what comes together.
 */
export class PlaceWatch {
  readonly #folders: readonly FolderWatch[];
  readonly #devices: readonly string[];
  readonly #onChange: () => void;
  #news: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasLooked = false;
  #isClosed = false;

  /** Changes of the bytes of files that `isIgnored` names are nothing new. */
  constructor(places: DiskPlaces, onChange: () => void, isIgnored: (path: string) => boolean) {
    this.#folders = [...new Set(places.folders)].map(
      (folder) =>
        new FolderWatch(folder, (path, isContent) => {
          if (!isContent || path === undefined || !isIgnored(path)) this.#tellSoon();
        }),
    );
    this.#devices = places.devices;
    this.#onChange = onChange;
  }

  /** Whether each folder is watched by inotify; else only `look` notices what happens there. */
  get isWatching(): boolean {
    return this.#folders.every((folder) => folder.isWatching);
  }

  /** The first one tells nothing: whoever begins a watch looks at the places after it. */
  async look(): Promise<void> {
    await Promise.all(this.#folders.map((folder) => folder.look()));
    this.#hasLooked = true;
    if (this.#devices.length > 0) {
      const news = deviceNews(this.#devices);
      if (this.#news !== undefined && news !== this.#news) this.#tellSoon();
      this.#news = news;
    }
    if (this.#isClosed) this.close();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const folder of this.#folders) folder.close();
  }

  #tellSoon(): void {
    if (this.#isClosed || !this.#hasLooked) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#onChange();
    }, foldMs);
  }
}
