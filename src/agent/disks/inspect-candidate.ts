import type { FileHandle } from "node:fs/promises";
import { DiskError } from "../../disk/disk-error.ts";
import { readUncheckedIndex } from "../../disk/reader/disk-reader.ts";
import { handleSource } from "../../filesystem/byte-source.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { causeText } from "../../oci/oci-error.ts";
import { AgentError } from "../agent-error.ts";
import type { SeenDisk } from "../state/agent-state.ts";
import type { DiskIdentity } from "./disk-finder.ts";
import { diskIdentity } from "./disk-identity.ts";
import type { Finding } from "./known-disk.ts";
import { BusyFileError, openSame } from "./opened-candidate.ts";

/** An index of thousands of images; a device that anybody may have written must not fill the agent's memory. */
const maxIndexBytes = 32 << 20;

/** How long after a failure to read, which may pass, it is tried again. */
const retryMs = 60_000;

/** What can be opened: a file that is trusted, or a device that the configuration names. */
export type Openable = { readonly path: string; readonly kind: "file" | "device"; readonly stamp: SeenDisk };

/** What a candidate says that it is, or why it cannot be told. Throws nothing. */
export async function inspectCandidate({ path, kind, stamp }: Openable): Promise<DiskIdentity | Finding> {
  let handle: FileHandle | undefined;
  try {
    handle = await openSame(path, kind, stamp);
    return diskIdentity(await readUncheckedIndex(await handleSource(path, handle), maxIndexBytes));
  } catch (error) {
    return failedFinding(error, path, kind);
  } finally {
    await handle?.close().catch(() => {});
  }
}

/** What a failure to open or read a candidate says about it. */
export function failedFinding(error: unknown, path: string, kind: "file" | "device"): Finding {
  const identity = undefined;
  if (error instanceof BusyFileError) return { type: "busy", reason: error.message };
  if (error instanceof AgentError) return { type: "refused", identity, reason: error.message };
  if (error instanceof DiskError && error.code === "not-a-disk" && kind === "device")
    return { type: "refused", identity, reason: error.message };
  if (error instanceof DiskError || error instanceof ErofsError)
    return { type: "broken", identity, reason: `${error.message}; deliver the disk again` };
  return unreadable(path, causeText(error));
}

export function unreadable(path: string, why: string, identity?: DiskIdentity): Finding {
  const retryAtMs = performance.now() + retryMs;
  return { type: "broken", identity, reason: `${path} cannot be read: ${why}`, retryAtMs };
}
