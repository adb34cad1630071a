import type { FileHandle } from "node:fs/promises";
import { DiskError } from "../../disk/disk-error.ts";
import { readUncheckedIndex } from "../../disk/reader/disk-reader.ts";
import { type ByteSource, handleSource } from "../../filesystem/byte-source.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { causeText, printable } from "../../oci/oci-error.ts";
import { forgetCached } from "../../runtime/host/fresh-read.ts";
import { AgentError } from "../agent-error.ts";
import type { SeenDisk } from "../state/agent-state.ts";
import { askLook, type LookJob } from "./ask-look.ts";
import type { DiskIdentity } from "./disk-finder.ts";
import { diskIdentity } from "./disk-identity.ts";
import { HeldDevice } from "./held-device.ts";
import type { Finding } from "./known-disk.ts";
import { BusyFileError, openSame } from "./opened-candidate.ts";

/** An index of thousands of images; a device that anybody may have written must not fill the agent's memory. */
const maxIndexBytes = 32 << 20;

/** Of the largest pages that kernels are built with. */
const pageBytes = 64 << 10;

/** How long after a failure to read, which may pass, it is tried again; where much had to be read for it, that is later. */
const retryMs = 60_000;
const retryAllMs = 600_000;

/** What can be opened: a file that is trusted, or a device that the configuration names. */
export type Openable = {
  readonly path: string;
  readonly kind: "file" | "device";
  readonly stamp: SeenDisk;
  readonly modifiedNs: bigint | undefined;
};

/** A device that is only busy answers within that time. */
const answerMs = 30_000;

/** `silent`: there was no answer in time. `unasked`: nobody could ask. They resolve when it is to be asked again. */
export type Inspection =
  | { readonly result: DiskIdentity | Finding }
  | { readonly silent: Promise<unknown> }
  | { readonly unasked: Promise<unknown> };

/** As `inspectCandidate`, but waits for an answer only so long, and others that give none do not keep it waiting. */
export async function inspectInTime(candidate: Openable, isFresh = false, timeoutMs = answerMs): Promise<Inspection> {
  const { path, kind, stamp } = candidate;
  const job: LookJob = { type: "inspect", candidate: { path, kind, stamp, modifiedNs: undefined }, isFresh };
  try {
    const here = () => inspectCandidate(candidate, isFresh);
    await using held = kind === "device" ? await HeldDevice.open(path) : undefined;
    const answer = await askLook(job, here, timeoutMs);
    if ("value" in answer) return { result: withRetry(answer.value) };
    if ("unasked" in answer) return answer;
    // A thread tells when it has its answer; of a process that was given up the device tells.
    return { silent: (answer.isGivenUp ? held?.untilAnswered() : undefined) ?? answer.silent };
  } catch (error) {
    return { result: failedFinding(error, path, kind) };
  }
}

/** A child has another clock. */
function withRetry(result: DiskIdentity | Finding): DiskIdentity | Finding {
  if (!("type" in result) || result.type !== "broken" || result.retryAtMs === undefined) return result;
  return { ...result, retryAtMs: performance.now() + retryMs };
}

/** What a candidate says that it is, or why it cannot be told. `isFresh`: the storage is asked, not the page cache. Throws nothing. */
export async function inspectCandidate(
  { path, kind, stamp }: Openable,
  isFresh = false,
): Promise<DiskIdentity | Finding> {
  let handle: FileHandle | undefined;
  try {
    handle = await openSame(path, kind, stamp);
    const source = await handleSource(path, handle);
    return diskIdentity(await readUncheckedIndex(isFresh ? freshSource(source, handle.fd) : source, maxIndexBytes));
  } catch (error) {
    return failedFinding(error, path, kind);
  } finally {
    await handle?.close().catch(() => {});
  }
}

/** Has each range forgotten before it is read, and no more than that: mounts may use the rest. */
function freshSource(source: ByteSource, fd: number): ByteSource {
  return {
    name: source.name,
    sizeBytes: source.sizeBytes,
    read(position, target) {
      // Parts of pages stay.
      const from = position - (position % pageBytes);
      const end = position + target.length + pageBytes;
      forgetCached(fd, from, end - (end % pageBytes) - from);
      return source.read(position, target);
    },
    close: () => source.close(),
  };
}

/** What a failure to open or read a candidate says about it. */
export function failedFinding(error: unknown, path: string, kind: "file" | "device"): Finding {
  const identity = undefined;
  if (error instanceof BusyFileError) return { type: "busy", reason: error.message };
  if (error instanceof AgentError) return { type: "refused", identity, reason: error.message };
  if (error instanceof DiskError && error.code === "not-a-disk" && kind === "device")
    return { type: "refused", identity, reason: error.message };
  if (error instanceof DiskError || error instanceof ErofsError)
    return { type: "broken", identity, reason: `${error.message}; deliver the disk again`, isDamaged: true };
  return { ...unreadable(`${path} cannot be read: ${causeText(error)}`), retryAtMs: performance.now() + retryMs };
}

/** What could not be read when its bytes were compared with their digests. */
export function unreadable(reason: string, identity?: DiskIdentity): Finding & { readonly type: "broken" } {
  return { type: "broken", identity, reason, retryAtMs: performance.now() + retryAllMs };
}

/** A device that may not be injected. What it says is shown, but only so much of it: it is anybody's text. */
export function notAllowed(path: string, identity: DiskIdentity): Finding {
  const line = printable(identity.line, 100);
  const reason = `${path} says that it is disk ${identity.id.slice(0, 12)} of line ${JSON.stringify(line)}, which anybody can write onto a device; to inject it, add its line or id to disks.allow`;
  return { type: "refused", identity: { ...identity, line, images: [] }, reason };
}
