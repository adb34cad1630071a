import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DiskError } from "../../disk/disk-error.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { diskSourceOf } from "../../runtime/host/disk-source.ts";
import { syncDirectory } from "../../runtime/host/sync-filesystem.ts";
import { errorCode } from "../../runtime/host/system-calls.ts";
import type { OpenDisk } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import type { DiskMemory, SeenDisk } from "../state/agent-state.ts";
import { ChangeSignal } from "./change-signal.ts";
import { type Candidate, deviceCandidates, fileCandidates, lookAtFile } from "./disk-candidates.ts";
import type { DiskFinder, DiskIdentity, FoundDisk } from "./disk-finder.ts";
import { sameStamp } from "./disk-stamp.ts";
import { failedFinding, inspectCandidate, notAllowed, type Openable, unreadable } from "./inspect-candidate.ts";
import { allowEntry, type Finding, foundDisk, type KnownDisk } from "./known-disk.ts";
import { openSame } from "./opened-candidate.ts";
import { type DiskPlaces, PlaceWatch } from "./place-watch.ts";
import { isSeeded, isSeen, withoutPlace, withSeen } from "./seen-disks.ts";
import type { Verdict } from "./verification-protocol.ts";
import { VerificationQueue } from "./verification-queue.ts";

export type HostDiskFinderOptions = {
  readonly places: DiskPlaces;
  /** Remembers what was verified. Stays open. */
  readonly state: DiskMemory;
  /** How often places are looked at that the kernel does not tell of; 2 s when left out. */
  readonly pollMs?: number;
};

/** A device that does not answer must not stop the agent. */
const answerMs = 5000;

/** The disks of this machine. Runs until it is closed. */
export class HostDiskFinder implements DiskFinder {
  readonly #state: DiskMemory;
  readonly #pollMs: number;
  readonly #changed = new ChangeSignal();
  readonly #queue = new VerificationQueue();
  /** By path. */
  readonly #known = new Map<string, KnownDisk>();
  #places: DiskPlaces;
  #watch: PlaceWatch;
  #scan: Promise<unknown> = Promise.resolve();
  /** The scan that has not begun. */
  #nextScan: Promise<readonly FoundDisk[]> | undefined;
  #poll: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor({ places, state, pollMs = 2000 }: HostDiskFinderOptions) {
    this.#places = places;
    this.#state = state;
    this.#pollMs = pollMs;
    this.#watch = this.#makeWatch();
  }

  /** Begins to watch. Places that are not there may come later. */
  static async open(options: HostDiskFinderOptions): Promise<HostDiskFinder> {
    const finder = new HostDiskFinder(options);
    await finder.#watch.look();
    finder.#pollLater();
    return finder;
  }

  /** Looks in other places from now on. */
  async configure(places: DiskPlaces): Promise<void> {
    this.#watch.close();
    this.#places = places;
    this.#watch = this.#makeWatch();
    // What may be injected from devices is another question now.
    for (const [path, { kind }] of this.#known) if (kind === "device") this.#forget(path);
    await this.#watch.look();
    this.#changed.tell();
  }

  async find({ signal }: { readonly signal: AbortSignal }): Promise<readonly FoundDisk[]> {
    signal.throwIfAborted();
    if (this.#nextScan === undefined) {
      const next = this.#scan.then(() => {
        this.#nextScan = undefined;
        return this.#look();
      });
      this.#nextScan = next;
      this.#scan = next.catch(() => {});
    }
    return this.#nextScan;
  }

  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<void> {
    return this.#changed.read(signal);
  }

  async open(path: string): Promise<OpenDisk> {
    const { kind, stamp, identity } = await this.#lookAgain(path);
    try {
      const handle = await openSame(path, kind, stamp);
      const opened = await diskSourceOf(path, handle).catch(async (error: unknown) => {
        await handle.close();
        throw error;
      });
      if (opened.disk.id === identity.id) return opened;
      await opened.disk.close();
      throw new AgentError("not-trusted", `${path} holds another disk than before; it is looked at again`);
    } catch (error) {
      this.#forget(path);
      if (error instanceof DiskError || error instanceof ErofsError)
        this.#known.set(path, { kind, stamp, finding: failedFinding(error, path, kind) });
      this.#changed.tell();
      throw error;
    }
  }

  async removeFile(path: string, id: string): Promise<void> {
    const { kind, identity } = await this.#lookAgain(path);
    if (kind !== "file" || identity.id !== id)
      throw new AgentError("not-trusted", `${path} is not the file of disk ${id}; it stays`);
    await unlink(path);
    await syncDirectory(dirname(path));
    this.#forget(path);
    void this.#state.change((record) => withoutPlace(record, id, path)).catch(() => {});
    this.#changed.tell();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#poll);
    this.#watch.close();
    this.#queue.close();
    await this.#scan;
  }

  #makeWatch(): PlaceWatch {
    const isWritten = (path: string) => this.#known.get(path)?.finding.type === "busy";
    return new PlaceWatch(this.#places, () => this.#changed.tell(), isWritten);
  }

  async #look(): Promise<readonly FoundDisk[]> {
    const candidates = new Map<string, Candidate>();
    const found = [...this.#places.folders.map(fileCandidates), deviceCandidates(this.#places.devices)];
    for (const candidate of (await Promise.all(found)).flat()) candidates.set(candidate.path, candidate);
    for (const path of this.#known.keys()) if (!candidates.has(path)) this.#forget(path);
    await Promise.all([...candidates.values()].map((candidate) => this.#examine(candidate)));
    return [...candidates.values()]
      .sort((a, b) => (a.path < b.path ? -1 : 1))
      .map((candidate) => foundDisk(candidate, this.#known.get(candidate.path)?.finding, this.#places.allow));
  }

  async #examine({ path, kind, stamp, refusal, failure }: Candidate): Promise<void> {
    if (stamp === undefined || refusal !== undefined || failure !== undefined) return this.#forget(path);
    const known = this.#known.get(path);
    if (known !== undefined && sameStamp(known.stamp, stamp) && known.finding.type !== "busy") return;
    this.#forget(path);
    const candidate: Openable = { path, kind, stamp };
    const inspected = inspectCandidate(candidate);
    const stopped = new AbortController();
    const late = sleep(answerMs, undefined, { signal: stopped.signal }).then(
      () => true,
      () => false,
    );
    const isLate = await Promise.race([late, inspected.then(() => false)]);
    stopped.abort();
    if (this.#isClosed) return;
    if (!isLate) {
      const result = await inspected;
      const finding = "type" in result ? result : this.#judge(candidate, result);
      this.#known.set(path, { kind, stamp, finding });
      return;
    }
    const silent = { kind, stamp, finding: { ...unreadable(`${path} does not answer`), retryAtMs: Infinity } };
    this.#known.set(path, silent);
    void inspected.then(() => {
      if (this.#known.get(path) === silent) this.#lookSoon(path);
    });
  }

  /** Whether a disk may be injected by what its index says. */
  #judge({ path, kind, stamp }: Openable, identity: DiskIdentity): Finding {
    const { id } = identity;
    if (kind === "device" && allowEntry(identity, this.#places.allow) === undefined) return notAllowed(path, identity);
    if (isSeen(this.#state.record, id, stamp)) return { type: "sound", identity };
    if (isSeeded(this.#state.record, id, stamp)) {
      this.#remember(id, stamp);
      return { type: "sound", identity };
    }
    const verification = this.#queue.add({ path, kind, stamp, id });
    const finding: Finding = { type: "checking", identity, verification };
    void verification.verdict.then((verdict) => this.#settle({ path, kind, stamp }, finding, identity, verdict));
    return finding;
  }

  #settle({ path, kind, stamp }: Openable, checking: Finding, identity: DiskIdentity, verdict: Verdict): void {
    if (this.#isClosed || this.#known.get(path)?.finding !== checking) return;
    const know = (finding: Finding) => this.#known.set(path, { kind, stamp, finding });
    switch (verdict.type) {
      case "sound":
        this.#remember(identity.id, stamp);
        know({ type: "sound", identity });
        break;
      case "broken":
        know({ type: "broken", identity, reason: verdict.reason });
        break;
      case "unreadable":
        know(unreadable(verdict.reason, identity));
        break;
      case "changed":
        this.#known.delete(path);
    }
    this.#changed.tell();
  }

  #remember(id: string, stamp: SeenDisk): void {
    // The state says itself when it is not durable; the disk is read again then.
    void this.#state.change((record) => withSeen(record, id, stamp)).catch(() => {});
  }

  /** A trusted disk, after its place has been looked at again. */
  async #lookAgain(path: string): Promise<Openable & { readonly identity: DiskIdentity }> {
    if (!this.#known.has(path)) await this.find({ signal: new AbortController().signal });
    const known = this.#known.get(path);
    const candidate = await this.#candidate(path);
    if (candidate === undefined) throw new AgentError("not-found", `there is no disk at ${path}`);
    const { state, reason, trustEntry } = foundDisk(candidate, known?.finding, this.#places.allow);
    if (state !== "trusted" || known?.finding.type !== "sound" || trustEntry === "") {
      throw new AgentError("not-trusted", reason || `${path} is looked at again`);
    }
    if (candidate.stamp === undefined || !sameStamp(candidate.stamp, known.stamp)) {
      this.#changed.tell();
      throw new AgentError("not-trusted", `${path} has changed since it was looked at; it is looked at again`);
    }
    return { path, kind: known.kind, stamp: known.stamp, identity: known.finding.identity };
  }

  async #candidate(path: string): Promise<Candidate | undefined> {
    if (this.#places.folders.includes(dirname(path))) {
      return lookAtFile(path).catch((error: unknown) => {
        if (errorCode(error) === "ENOENT") return undefined;
        throw error;
      });
    }
    return (await deviceCandidates(this.#places.devices)).find((each) => each.path === path);
  }

  #forget(path: string): void {
    const finding = this.#known.get(path)?.finding;
    this.#known.delete(path);
    if (finding?.type === "checking") finding.verification.cancel();
  }

  #lookSoon(path: string): void {
    this.#forget(path);
    this.#changed.tell();
  }

  #pollLater(): void {
    if (this.#isClosed) return;
    this.#poll = setTimeout(() => {
      // What a look did not see, the next one does.
      void this.#pollNow()
        .catch(() => {})
        .finally(() => this.#pollLater());
    }, this.#pollMs);
  }

  async #pollNow(): Promise<void> {
    await this.#watch.look();
    for (const [path, known] of this.#known) {
      const { finding, kind, stamp } = known;
      if (finding.type === "broken" && (finding.retryAtMs ?? Infinity) < performance.now()) this.#lookSoon(path);
      if (finding.type !== "busy") continue;
      const isBusy = (await inspectIfFree({ path, kind, stamp })) === "busy";
      if (!isBusy && this.#known.get(path) === known) this.#lookSoon(path);
    }
  }
}

/** `busy` while somebody writes a file; growing all the while, it is not what the stamp says. */
async function inspectIfFree({ path }: Openable): Promise<"busy" | "free"> {
  const candidate = await lookAtFile(path).catch(() => undefined);
  if (candidate?.stamp === undefined || candidate.refusal !== undefined) return "free";
  try {
    const handle = await openSame(path, "file", candidate.stamp);
    await handle.close();
    return "free";
  } catch (error) {
    return failedFinding(error, path, "file").type === "busy" ? "busy" : "free";
  }
}
