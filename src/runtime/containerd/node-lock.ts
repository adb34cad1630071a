import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { callHere, errorCode } from "../host/system-calls.ts";
import type { ContainerdNode } from "./containerd-node.ts";

/** include/uapi/asm-generic/fcntl.h. */
const lockExclusive = 2;
const lockNonBlocking = 4;

const pollMs = 20;

/** Folder of the locks, in the mount namespace of the runtime, as are the mounts that they guard. */
const lockFolder = "/run/nodewarm/locks";

/**
 * Waits until no other program changes what Nodewarm has in this namespace of this containerd. The lock goes with the process. Throws the
 * reason of `signal`, or what `open(2)` gives.
 */
export async function lockNode(
  node: Pick<ContainerdNode, "snapshotsFolder" | "namespace" | "local">,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const folder = node.local(lockFolder);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const name = createHash("sha256").update(`${node.snapshotsFolder}\n${node.namespace}`).digest("hex").slice(0, 16);
  const handle = await open(`${folder}/${name}`, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    while (!tryLock(handle.fd)) await sleep(pollMs, undefined, { signal });
    signal.throwIfAborted();
  } catch (error) {
    await handle.close();
    throw signal.aborted ? signal.reason : error;
  }
  return { [Symbol.asyncDispose]: () => handle.close() };
}

function tryLock(fd: number): boolean {
  try {
    callHere("flock", fd, lockExclusive | lockNonBlocking);
    return true;
  } catch (error) {
    if (errorCode(error) === "EWOULDBLOCK" || errorCode(error) === "EAGAIN") return false;
    throw error;
  }
}
