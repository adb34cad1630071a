import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError } from "../usage-error.ts";

/** Throws `UsageError` unless a file can come to stand at `path`: what is there is left alone until the disk is complete. */
export async function checkOutputPath(path: string): Promise<void> {
  if (path.endsWith("/")) throw new UsageError(`-o ${path}: that is a folder; name a file in it`);
  const there = await statOrUndefined(path);
  if (there?.isDirectory()) throw new UsageError(`-o ${path}: that is a folder; name a file in it`);
  if (there !== undefined && !there.isFile()) {
    throw new UsageError(
      `-o ${path}: that is a device, pipe or socket; write the disk to a file first, then copy it (dd if=FILE of=${path})`,
    );
  }
  const folder = await statOrUndefined(dirname(path));
  if (folder === undefined)
    throw new UsageError(`-o ${path}: the folder ${dirname(path)} does not exist; make it first`);
  if (!folder.isDirectory()) throw new UsageError(`-o ${path}: ${dirname(path)} is no folder`);
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new UsageError(`-o ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
