import { constants } from "node:fs";
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { readMountTable } from "../../runtime/host/mount-table.ts";
import { PublishError } from "../publish-error.ts";

/** As the kernel's own bound, MAXSYMLINKS (include/linux/namei.h). */
const maxLinks = 40;

/** Copies in progress begin with this; what an interrupted run left is replaced by the next. */
const partialPrefix = ".nodewarm-partial-";

/**
 * The root file system of a node, as a folder on this machine. Paths are absolute as the node sees them; symbolic links on the way are
 * followed as they would be there, so that nothing outside the folder is ever touched. Files appear whole (rename) and durable, owned by
 * root.
 */
export class RootFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Throws `PublishError` `invalid-root` unless `path` is a folder with `/etc` and `/usr`. */
  static async open(path: string): Promise<RootFolder> {
    const root = new RootFolder(resolve(path));
    for (const needed of ["/", "/etc", "/usr"]) {
      const place = await root.local(needed);
      const isFolder = await stat(place).then(
        (found) => found.isDirectory(),
        () => false,
      );
      if (!isFolder)
        throw new PublishError(
          "invalid-root",
          `${path} is no root file system: there is no folder ${place}; give the folder that holds the node's /etc and /usr`,
        );
    }
    return root;
  }

  /** Where a path of the node is on this machine. What does not exist yet is taken as it is written. */
  async local(path: string): Promise<string> {
    let at: string[] = [];
    let left = partsOf(path);
    for (let links = 0; left.length > 0; ) {
      const [part = "", ...rest] = left;
      left = rest;
      if (part === "..") {
        at.pop();
        continue;
      }
      const target = await linkTarget(join(this.path, ...at, part));
      if (target === undefined) {
        at.push(part);
        continue;
      }
      if (++links > maxLinks)
        throw new PublishError("invalid-root", `${path} in ${this.path}: too many symbolic links`);
      if (target.startsWith("/")) at = [];
      left = [...partsOf(target), ...left];
    }
    return join(this.path, ...at);
  }

  async exists(path: string): Promise<boolean> {
    return isThere(await this.local(path));
  }

  /** Names in a folder; none where it is missing. */
  async list(path: string): Promise<readonly string[]> {
    return readdir(await this.local(path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
  }

  /** Makes a folder and those above it, mode 0755; returns where it is on this machine. */
  async makeFolder(path: string): Promise<string> {
    const place = await this.local(path);
    await mkdir(place, { recursive: true, mode: 0o755 });
    return place;
  }

  /** As `makeFolder`; nobody but the owner enters it then, also when it was there. */
  async makePrivateFolder(path: string): Promise<string> {
    const place = await this.makeFolder(path);
    await chmod(place, 0o700);
    return place;
  }

  /** Replaces what is there. */
  async writeFile(path: string, text: string, mode = 0o644): Promise<void> {
    await this.#put(path, async (partial) => {
      const file = await open(partial, "wx", mode);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  /** Replaces what is there by a copy of a file of this machine; shares its blocks where the file system can (reflink). */
  async copyFile(from: string, path: string, mode = 0o644): Promise<void> {
    await this.#put(path, async (partial) => {
      await copyFile(from, partial, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      const file = await open(partial, "r+");
      try {
        await file.chmod(mode);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  async link(path: string, target: string): Promise<void> {
    await this.#put(path, (partial) => symlink(target, partial));
  }

  /** Removes a file, a link or a whole folder. Where something is mounted at it or below it, all of it stays: it may be somebody's volume. */
  async remove(path: string): Promise<"removed" | "missing" | "mounted"> {
    const place = join(await this.local(dirname(path)), basename(path));
    if (!(await isThere(place))) return "missing";
    const mounts = await readMountTable("self");
    if (mounts.at(place) !== undefined || mounts.below(place).length > 0) return "mounted";
    await rm(place, { recursive: true });
    return "removed";
  }

  async removeEmptyFolder(path: string): Promise<void> {
    await rmdir(await this.local(path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT" && error.code !== "ENOTEMPTY") throw error;
    });
  }

  async #put(path: string, make: (partial: string) => Promise<void>): Promise<void> {
    const folder = await this.makeFolder(dirname(path));
    const partial = join(folder, `${partialPrefix}${basename(path)}`);
    await rm(partial, { force: true });
    try {
      await make(partial);
      await rename(partial, join(folder, basename(path)));
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
    await syncFolder(folder);
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
