import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDiskName } from "./disk-candidates.ts";
import { folderRefusal } from "./trusted-path.ts";

/** What is to be known of a folder, beside which one it is. */
export type FolderParts = { readonly withRights: boolean; readonly withNames: boolean };

export type FolderState = {
  /** Which folder it is; empty when there is none. */
  readonly place: string;
  /** Why it is not trusted. */
  readonly refusal: string | undefined;
  /** Another text whenever a disk in it is another one. */
  readonly names: string | undefined;
};

/** What a folder is like now. Its file system is asked one question after the other, as it may hang. Throws nothing. */
export async function folderState(folder: string, { withRights, withNames }: FolderParts): Promise<FolderState> {
  const stats = await stat(folder).catch(() => undefined);
  return {
    place: stats?.isDirectory() ? `${stats.dev}:${stats.ino}` : "",
    refusal: withRights ? await folderRefusal(folder).catch(() => undefined) : undefined,
    names: withNames ? await fingerprint(folder) : undefined,
  };
}

async function fingerprint(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const files: string[] = [];
  for (const name of names.filter(isDiskName).sort()) {
    const stats = await lstat(join(folder, name), { bigint: true }).catch(() => undefined);
    files.push(stats === undefined ? name : `${name}\0${stats.ino} ${stats.size} ${stats.ctimeNs}`);
  }
  return files.join("\0");
}
