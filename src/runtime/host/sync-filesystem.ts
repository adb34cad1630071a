import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { HostError } from "./host-error.ts";
import { call, errorCode } from "./system-calls.ts";

/**
 * Makes everything that was written to the file system of `path` durable (syncfs(2)): one call for a whole batch of links.
 * Throws `HostError` when the device has failed to write, and what `open(2)` gives.
 */
export async function syncFilesystem(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await call("syncfs", handle.fd);
  } catch (cause) {
    throw new HostError("system", `the file system of ${path} cannot be written to its device (${errorCode(cause)})`, {
      cause,
    });
  } finally {
    await handle.close();
  }
}

/** Makes the names in a folder durable. Throws what `open(2)` and `fsync(2)` give. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
