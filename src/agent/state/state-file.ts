import { constants } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory } from "../../runtime/host/sync-filesystem.ts";
import { errorCode } from "../../runtime/host/system-calls.ts";
import { AgentError } from "../agent-error.ts";

const stateName = "state.json";

/** Thousands of tags and disks need a few MiB; anything above was not written by us. */
const maxDocumentBytes = 64 << 20;

/** The document in a state folder, and the one that is about to take its place. */
export function statePath(folder: string): string {
  return join(folder, stateName);
}

/**
 * Makes the folder for this user alone, where it is missing; takes the right to write from others. Throws `AgentError` `state-unusable` when
 * it belongs to somebody else, and what the file system gives.
 */
export async function prepareFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (made !== undefined) await syncDirectory(dirname(made));
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { uid, mode } = await handle.stat();
    if (uid !== process.getuid?.())
      throw new AgentError("state-unusable", `${folder} belongs to user ${uid}; give it to the user of the agent`);
    if ((mode & 0o022) !== 0) await handle.chmod(mode & 0o7755);
  } finally {
    await handle.close();
  }
}

/**
 * The text of the document; `undefined` when there is none. Throws `AgentError` `state-unusable` for what cannot be ours, and what
 * `open(2)` and `read(2)` give.
 */
export async function readStateFile(folder: string): Promise<string | undefined> {
  const path = statePath(folder);
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new AgentError("state-unusable", `${path} is no file`);
    if (stats.uid !== process.getuid?.() || (stats.mode & 0o022) !== 0)
      throw new AgentError("state-unusable", `${path} can be written by others than the user of the agent`);
    if (stats.size > maxDocumentBytes)
      throw new AgentError("state-unusable", `${path} has ${stats.size} bytes, more than any state`);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/**
 * Replaces the document; after a crash at any point it is the old or the new one, and when this returns it is the new one. Throws what the
 * file system gives, and the old one stays.
 */
export async function writeStateFile(folder: string, text: string): Promise<void> {
  const path = statePath(folder);
  const beside = `${path}.new`;
  await rm(beside, { force: true, recursive: true });
  const bytes = Buffer.from(text);
  const handle = await open(
    beside,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, done);
      done += bytesWritten;
    }
    await handle.sync();
    await handle.close();
    await rename(beside, path);
  } catch (error) {
    // On a full disk the half of it would take the room that others need.
    await handle.close().catch(() => {});
    await rm(beside, { force: true }).catch(() => {});
    throw error;
  }
  await syncDirectory(folder);
}

/** Keeps a document that cannot be used, for a person to look at; the last one of them. */
export async function setAside(folder: string): Promise<string> {
  const path = statePath(folder);
  const aside = `${path}.damaged`;
  const stats = await stat(aside).catch(() => undefined);
  if (stats?.isDirectory()) await rm(aside, { recursive: true });
  await rename(path, aside);
  return aside;
}
