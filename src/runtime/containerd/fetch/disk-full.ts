import { errorCode } from "../../host/system-calls.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";

/** Whether something failed for want of space, here or in containerd, which says so in words (errno(3)). */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  if (code === "ENOSPC" || code === "EDQUOT") return true;
  if (!isRuntimeError(error)) return false;
  return error.code === "resource-exhausted" || /no space left on device|disk quota exceeded/.test(error.message);
}

/** `what`: the image; `folders`: what may be full. */
export function diskFull(what: string, folders: readonly string[], cause: unknown): RuntimeError {
  return new RuntimeError(
    "resource-exhausted",
    `there is no space left for ${what} in ${folders.join(" or ")}; free some (bytes and inodes), nothing of the image was kept`,
    { cause },
  );
}
