import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CliError } from "../cli-error.ts";
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

/**
 * What the system says while a disk is written names no disk (`ENOSPC: no space left on device, write`): this does, with the
 * way out. Other errors come back as they are.
 */
export function explainSystemError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return error;
  const folder = dirname(path);
  const hints: Readonly<Record<string, string>> = {
    ENOSPC: `; make room in ${folder} or write to another place`,
    EDQUOT: `; make room in ${folder} or write to another place`,
    EACCES: `; may you write to ${folder}?`,
    EPERM: `; may you write to ${folder}?`,
    EROFS: `; ${folder} is read-only, write to another place`,
    EIO: `; the storage of ${folder} fails, dmesg says more; write to another place`,
    EFBIG: "; the file system or a limit (ulimit -f) allows no file of that size",
  };
  const hint = hints[String(error.code)] ?? "";
  return new CliError("unwritable-disk", `cannot write ${path}: ${error.message}${hint}`, { cause: error });
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
