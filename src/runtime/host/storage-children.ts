import { type ChildProcess, fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { ChildError, type FromStorageChild, type StorageAnswer } from "./storage-protocol.ts";

/** A question for a child: `file` is its program, which calls `serveStorageJobs`; `job` has to survive a structured clone. */
export type StorageJob = { readonly file: URL; readonly job: unknown };

type ChildLimits = {
  /** Children that work at once; each takes some 50 MB. */
  readonly most: number;
  /** Of those that were given up, as many may be left: they end when their device answers, as no signal reaches them before. */
  readonly mostAbandoned: number;
  /** When others wait for a child, one that has not answered for so long is given up. */
  readonly crowdedMs: number;
  /** Where nothing tells that a device answers again, it is asked again after so long. */
  readonly againMs: number;
  /** A child that has nothing to do ends after so long; it outlives the pause between two looks at folders. */
  readonly idleMs: number;
};

const defaultLimits: ChildLimits = { most: 4, mostAbandoned: 8, crowdedMs: 5000, againMs: 10_000, idleMs: 5000 };

/** A process that waits for nothing ends sooner. */
const killMs = 200;

type Working = {
  readonly file: string;
  readonly process: ChildProcess;
  readonly sinceMs: number;
  giveUp: () => void;
};

/** Processes that ask storage which may never answer: unlike a thread, such a process can be given up. They end when nobody asks any more. */
export class StorageChildren {
  readonly #limits: ChildLimits;
  readonly #working = new Set<Working>();
  readonly #idle = new Map<ChildProcess, { readonly file: string; readonly timer: NodeJS.Timeout }>();
  readonly #abandoned = new Set<ChildProcess>();
  readonly #waiting: (() => void)[] = [];
  #crowd: NodeJS.Timeout | undefined;

  constructor(limits: Partial<ChildLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Waits for its turn, and then so long for an answer. Throws what the child throws, or why there is none. */
  async ask<T>({ file, job }: StorageJob, timeoutMs: number): Promise<StorageAnswer<T>> {
    while (this.#working.size >= this.#limits.most) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      this.#watchCrowd();
      await promise;
    }
    if (this.#abandoned.size >= this.#limits.mostAbandoned) {
      this.#next();
      return { unasked: this.#oneEnds() };
    }
    const child = this.#take(file.href);
    const given = Promise.withResolvers<StorageAnswer<T>>();
    const working: Working = {
      file: file.href,
      process: child,
      sinceMs: performance.now(),
      giveUp: () => given.resolve({ silent: this.#abandon(child), isGivenUp: true }),
    };
    this.#working.add(working);
    const timer = setTimeout(() => working.giveUp(), timeoutMs);
    const onMessage = (message: FromStorageChild<T>) =>
      "error" in message ? given.reject(new ChildError(message.error)) : given.resolve(message);
    const onEnd = () => given.reject(new Error(`the process that was to read has ended (${child.exitCode})`));
    child.once("message", onMessage);
    child.once("error", onEnd);
    child.once("exit", onEnd);
    try {
      child.send({ job });
      const answer = await given.promise;
      if (!("silent" in answer)) this.#rest(child, file.href);
      return answer;
    } catch (error) {
      if (error instanceof ChildError) this.#rest(child, file.href);
      throw error;
    } finally {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("error", onEnd);
      child.off("exit", onEnd);
      this.#working.delete(working);
      this.#next();
    }
  }

  #take(file: string): ChildProcess {
    // The last that worked: the others end meanwhile.
    for (const [child, idle] of [...this.#idle].reverse()) {
      if (idle.file !== file || !child.connected) continue;
      clearTimeout(idle.timer);
      this.#idle.delete(child);
      return child;
    }
    // Options of this process may not be for files.
    const child = fork(new URL(file), {
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    // Whoever waits has a timer; nobody waits for the rest.
    child.unref();
    child.channel?.unref();
    child.on("error", () => {});
    child.on("exit", () => {
      clearTimeout(this.#idle.get(child)?.timer);
      this.#idle.delete(child);
      this.#abandoned.delete(child);
    });
    return child;
  }

  #rest(child: ChildProcess, file: string): void {
    const timer = setTimeout(() => {
      this.#idle.delete(child);
      child.kill("SIGKILL");
    }, this.#limits.idleMs);
    timer.unref();
    this.#idle.set(child, { file, timer });
  }

  /** Resolves when its device has answered, or may have. */
  #abandon(child: ChildProcess): Promise<unknown> {
    const ended = Promise.withResolvers<void>();
    this.#abandoned.add(child);
    const killedMs = performance.now();
    child.once("exit", () => {
      // One that could be killed while it waited says nothing of its device.
      if (performance.now() - killedMs > killMs) ended.resolve();
    });
    child.kill("SIGKILL");
    return Promise.race([ended.promise, sleep(this.#limits.againMs, undefined, { ref: false })]);
  }

  #oneEnds(): Promise<unknown> {
    const ended = Promise.withResolvers<void>();
    for (const child of this.#abandoned) child.once("exit", () => ended.resolve());
    return Promise.race([ended.promise, sleep(this.#limits.againMs, undefined, { ref: false })]);
  }

  #next(): void {
    this.#waiting.shift()?.();
  }

  /** As long as anybody waits. */
  #watchCrowd(): void {
    if (this.#crowd !== undefined) return;
    const { crowdedMs } = this.#limits;
    this.#crowd = setTimeout(() => {
      this.#crowd = undefined;
      if (this.#waiting.length === 0) return;
      const nowMs = performance.now();
      for (const { sinceMs, giveUp } of this.#working) if (nowMs - sinceMs >= crowdedMs) giveUp();
      this.#watchCrowd();
    }, crowdedMs / 4);
  }
}
