import { unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { DiskError } from "../../disk/disk-error.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { isStorageLate } from "../../runtime/host/ask-storage.ts";
import { diskSourceOf } from "../../runtime/host/disk-source.ts";
import { syncDirectory } from "../../runtime/host/sync-filesystem.ts";
import type { OpenDisk } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import type { DiskMemory, SeenDisk } from "../state/agent-state.ts";
import { ChangeSignal } from "./change-signal.ts";
import { type Candidate, deviceCandidates } from "./disk-candidates.ts";
import type { DiskFinder, DiskIdentity, FoundDisk } from "./disk-finder.ts";
import { DiskHealth, type DiskHealthOptions } from "./disk-health.ts";
import { sameStamp } from "./disk-stamp.ts";
import { FolderLooks } from "./folder-looks.ts";
import { failedFinding, inspectInTime, notAllowed, type Openable, unreadable } from "./inspect-candidate.ts";
import { allowEntry, type Finding, foundDisk, type KnownDisk, knownDisk } from "./known-disk.ts";
import { isBeingWritten, openSame } from "./opened-candidate.ts";
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
  /** How long a look waits for disks to say what they are; those that take longer are `checking`. 1 s when left out. */
  readonly lookMs?: number;
  /** How long a disk has to say what it is until it is taken not to answer; 30 s when left out. */
  readonly answerMs?: number;
  readonly health?: DiskHealthOptions;
};

/** The disks of this machine. Runs until it is closed. */
export class HostDiskFinder implements DiskFinder {
  readonly #state: DiskMemory;
  readonly #pollMs: number;
  readonly #lookMs: number;
  readonly #answerMs: number | undefined;
  readonly #changed = new ChangeSignal();
  readonly #queue = new VerificationQueue();
  readonly #folderLooks = new FolderLooks();
  /** By path. */
  readonly #known = new Map<string, KnownDisk>();
  /** Paths that are looked at again though nothing shows a change. */
  readonly #stale = new Set<string>();
  /** Paths whose storage has been asked and has not answered yet. */
  readonly #probing = new Map<string, Promise<boolean>>();
  readonly #health: DiskHealth;
  #places: DiskPlaces;
  #watch: PlaceWatch;
  #scan: Promise<unknown> = Promise.resolve();
  /** The scan that has not begun. */
  #nextScan: Promise<readonly FoundDisk[]> | undefined;
  #poll: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor({ places, state, pollMs = 2000, lookMs = 1000, answerMs, health }: HostDiskFinderOptions) {
    this.#places = places;
    this.#state = state;
    this.#pollMs = pollMs;
    this.#lookMs = lookMs;
    this.#answerMs = answerMs;
    this.#health = new DiskHealth({
      ...health,
      onDoubt: (path) => this.#verifyAgain(path),
      onChange: () => this.#changed.tell(),
      probe: (path) => void this.#probe(path),
    });
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
    try {
      await this.#watch.look();
    } finally {
      // Who knows the old places is to look at these, and the first look of a watch tells nothing.
      this.#changed.tell();
    }
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
    let trusted = await this.#lookAgain(path);
    if (trusted.kind === "device" || isStorageLate()) {
      // Whoever gets it reads without a limit of time.
      if (!(await this.#probe(path)))
        throw new AgentError("not-trusted", `${path} cannot be asked now: too many devices do not answer`);
      trusted = await this.#lookAgain(path);
    }
    const { kind, stamp, identity } = trusted;
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
      const known = this.#known.get(path);
      this.#forget(path);
      // What only failed to be read is looked at again.
      if (known !== undefined && (error instanceof DiskError || error instanceof ErofsError))
        this.#known.set(path, knownDisk(known, failedFinding(error, path, kind), known));
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
    this.#forgetSeen(id, path);
    this.#changed.tell();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#poll);
    this.#watch.close();
    this.#health.close();
    this.#queue.close();
    await this.#scan;
  }

  #makeWatch(): PlaceWatch {
    const isWritten = (path: string) => this.#known.get(path)?.finding.type === "busy";
    return new PlaceWatch(this.#places, () => this.#changed.tell(), isWritten);
  }

  async #look(): Promise<readonly FoundDisk[]> {
    const candidates = new Map<string, Candidate>();
    const folders = this.#places.folders.map((folder) => this.#folderLooks.look(folder, () => this.#changed.tell()));
    const found = [...folders, deviceCandidates(this.#places.devices)];
    for (const candidate of (await Promise.all(found)).flat()) candidates.set(candidate.path, candidate);
    for (const path of this.#known.keys()) if (!candidates.has(path)) this.#forget(path);
    await this.#examineAll([...candidates.values()]);
    return [...candidates.values()]
      .sort((a, b) => (a.path < b.path ? -1 : 1))
      .map((candidate) => {
        const { path } = candidate;
        return foundDisk(candidate, this.#known.get(path), this.#places.allow, this.#health.conditions(path));
      });
  }

  /** Those that do not answer do not hold up the others; what they are is told when they have. */
  async #examineAll(candidates: readonly Candidate[]): Promise<void> {
    let isOver = false;
    const all = candidates.map(async (candidate) => {
      await this.#examine(candidate);
      if (isOver) this.#changed.tell();
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#lookMs);
    await Promise.race([Promise.all(all), promise]);
    clearTimeout(timer);
    isOver = true;
  }

  async #examine({ path, kind, stamp, modifiedNs, refusal, failure }: Candidate): Promise<void> {
    const known = this.#known.get(path);
    if (stamp === undefined || failure !== undefined || (refusal !== undefined && known === undefined))
      return this.#forget(path);
    if (refusal !== undefined) {
      this.#forget(path);
      // Whether it is written to meanwhile counts all the same.
      const refused: Finding = { type: "refused", identity: undefined, reason: refusal };
      this.#known.set(path, knownDisk({ kind, stamp, modifiedNs }, refused, known));
      this.#stale.add(path);
      return;
    }
    const isKnown = known !== undefined && sameStamp(known.stamp, stamp) && known.finding.type !== "busy";
    if (isKnown && !this.#stale.has(path)) return;
    this.#forget(path);
    const candidate: Openable = { path, kind, stamp, modifiedNs };
    await this.#inspect(candidate, known);
  }

  /** `before`: what was known of its path. Resolves to whether it could be asked. */
  async #inspect(candidate: Openable, before: KnownDisk | undefined, isFresh = false): Promise<boolean> {
    const { path } = candidate;
    const asked = isFresh ? before : knownDisk(candidate, { type: "looking" }, before);
    if (asked !== undefined) this.#known.set(path, asked);
    const inspection = await inspectInTime(candidate, isFresh, this.#answerMs);
    // Another look came first.
    if (this.#isClosed || this.#known.get(path) !== asked) return true;
    if ("unasked" in inspection) {
      const isSame = before !== undefined && sameStamp(before.stamp, candidate.stamp);
      const kept = isSame && before.finding.type === "broken" ? before : asked;
      if (kept !== undefined) this.#known.set(path, kept);
      void inspection.unasked.then(() => {
        if (this.#known.get(path) !== kept) return;
        if (isFresh) this.#changed.tell();
        else this.#lookSoon(path);
      });
      return false;
    }
    if ("silent" in inspection) {
      const finding = { ...unreadable(`${path} does not answer`), retryAtMs: Number.POSITIVE_INFINITY };
      const silent = knownDisk(candidate, finding, before);
      this.#known.set(path, silent);
      void inspection.silent.then(() => {
        if (this.#known.get(path) === silent) this.#lookSoon(path);
      });
      return true;
    }
    const { result } = inspection;
    // Of a disk that was trusted, and still says that it is the same, nothing else is asked.
    if (isFresh && before?.finding.type === "sound" && !("type" in result) && result.id === before.finding.identity.id)
      return true;
    const finding = "type" in result ? result : this.#judge(candidate, result);
    this.#known.set(path, knownDisk(candidate, finding, before));
    return true;
  }

  /** Asks the storage of a disk that is trusted whether its index can still be read. Resolves to whether it could be asked. */
  #probe(path: string): Promise<boolean> {
    const known = this.#known.get(path);
    if (known?.finding.type !== "sound") return Promise.resolve(true);
    const probing = this.#probing.get(path) ?? this.#probeNow(path, known).finally(() => this.#probing.delete(path));
    this.#probing.set(path, probing);
    return probing;
  }

  async #probeNow(path: string, known: KnownDisk): Promise<boolean> {
    const isAsked = await this.#inspect({ ...known, path }, known, true);
    if (this.#known.get(path) !== known) this.#changed.tell();
    return isAsked;
  }

  /** Reads a disk in full again whose storage has failed somewhere; what it gives stays meanwhile. */
  #verifyAgain(path: string): void {
    const known = this.#known.get(path);
    if (known?.finding.type !== "sound") return;
    const candidate: Openable = { ...known, path };
    const finding = this.#verify(candidate, known.finding.identity, true);
    this.#known.set(path, knownDisk(candidate, finding, known));
    this.#changed.tell();
  }

  /** Whether a disk may be injected by what its index says. */
  #judge(candidate: Openable, identity: DiskIdentity): Finding {
    const { path, kind, stamp } = candidate;
    const { id } = identity;
    if (kind === "device" && allowEntry(identity, this.#places.allow) === undefined) return notAllowed(path, identity);
    if (isSeen(this.#state.record, id, stamp)) return { type: "sound", identity };
    if (isSeeded(this.#state.record, id, stamp)) {
      this.#remember(id, stamp);
      return { type: "sound", identity };
    }
    return this.#verify(candidate, identity);
  }

  #verify(candidate: Openable, identity: DiskIdentity, isAgain = false): Finding {
    const { path, kind, stamp } = candidate;
    const verification = this.#queue.add({ path, kind, stamp, id: identity.id, isAgain });
    const finding: Finding = { type: "checking", identity, verification };
    void verification.verdict.then((verdict) => this.#settle(candidate, finding, identity, verdict));
    return finding;
  }

  #settle({ path, stamp }: Openable, checking: Finding, identity: DiskIdentity, verdict: Verdict): void {
    const known = this.#known.get(path);
    if (this.#isClosed || known?.finding !== checking) return;
    const know = (finding: Finding) => this.#known.set(path, knownDisk(known, finding, known));
    // One that was verified earlier, with the same stamp, is not to be trusted for that after a restart.
    if (verdict.type === "broken" || verdict.type === "unreadable") this.#forgetSeen(identity.id, path);
    switch (verdict.type) {
      case "sound":
        this.#remember(identity.id, stamp);
        know({ type: "sound", identity });
        break;
      case "broken":
        know({ type: "broken", identity, reason: verdict.reason, isDamaged: true });
        break;
      case "unreadable":
        know(unreadable(verdict.reason, identity));
        break;
      case "changed":
        this.#stale.add(path);
    }
    this.#changed.tell();
  }

  #forgetSeen(id: string, path: string): void {
    if (!Object.hasOwn(this.#state.record.seenDisks, id)) return;
    void this.#state.change((record) => withoutPlace(record, id, path)).catch(() => {});
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
    const { state, reason, trustEntry } = foundDisk(candidate, known, this.#places.allow);
    if (state !== "trusted" || known?.finding.type !== "sound" || trustEntry === "") {
      throw new AgentError("not-trusted", reason || `${path} is looked at again`);
    }
    if (candidate.stamp === undefined || !sameStamp(candidate.stamp, known.stamp)) {
      this.#changed.tell();
      throw new AgentError("not-trusted", `${path} has changed since it was looked at; it is looked at again`);
    }
    return { ...known, path, identity: known.finding.identity };
  }

  async #candidate(path: string): Promise<Candidate | undefined> {
    if (this.#places.folders.includes(dirname(path))) return this.#folderLooks.lookAtFile(path);
    return (await deviceCandidates(this.#places.devices)).find((each) => each.path === path);
  }

  #forget(path: string): void {
    const finding = this.#known.get(path)?.finding;
    this.#known.delete(path);
    this.#stale.delete(path);
    if (finding?.type === "checking") finding.verification.cancel();
  }

  #lookSoon(path: string): void {
    this.#stale.add(path);
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
      const { finding } = known;
      if (finding.type === "broken" && (finding.retryAtMs ?? Infinity) < performance.now()) this.#lookSoon(path);
      if (finding.type !== "busy") continue;
      const candidate = await this.#folderLooks.lookAtFile(path).catch(() => undefined);
      const isBusy = candidate !== undefined && (await isBeingWritten(candidate));
      if (!isBusy && this.#known.get(path) === known) this.#lookSoon(path);
    }
    await this.#health.look(new Map([...this.#known].map(([path, { finding }]) => [path, finding.type === "sound"])));
  }
}
