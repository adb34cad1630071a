import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChangeQueue } from "../../change-queue.ts";
import type { ImageChange } from "../../image-keeper.ts";
import { keepListening, type RetryTimes } from "../../keep-listening.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { ContainerdEvent } from "../client/events.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { isIDRecord } from "../ownership.ts";
import { isFrom, parseVersion } from "../version-number.ts";
import { pollSnapshots } from "./poll-snapshots.ts";

/** What is watched: the parts of a node that this needs. */
export type WatchedNode = Pick<ContainerdNode, "client" | "in" | "namespace" | "version" | "snapshots">;

export type WatchTimes = RetryTimes & {
  /** Between two proofs that events arrive. */
  readonly proofIntervalMs: number;
  /** After which an event that did not arrive means that the stream is dead. */
  readonly proofTimeoutMs: number;
  /** Where garbage collection sends no events. */
  readonly pollIntervalMs: number;
};

const usualTimes: WatchTimes = {
  proofIntervalMs: 15_000,
  proofTimeoutMs: 5_000,
  pollIntervalMs: 30_000,
  firstRetryMs: 50,
  maxRetryMs: 5_000,
};

/** How soon the first proof is tried again, and then twice as late each time: before the subscription stands, events are lost. */
const firstProofMs = 5;

/**
 * What changes in a namespace, as `ImageKeeper.changes` says it. containerd does not say when a subscription stands, nor that a stream is
 * dead, so an event of our own proves both: `listening` comes when it has arrived. `use` calls with the node
 * as it is now, and keeps it open meanwhile; it is asked again after each loss.
 */
export function watchChanges(
  use: (work: (node: WatchedNode) => Promise<never>) => Promise<never>,
  signal: AbortSignal,
  times: WatchTimes = usualTimes,
): AsyncGenerator<ImageChange, void, undefined> {
  return keepListening(
    (queue, running, onListening) => use((node) => listen(node, queue, running, times, onListening)),
    signal,
    times,
  );
}

/** Until the stream ends or is dead; always throws. */
async function listen(
  node: WatchedNode,
  queue: ChangeQueue,
  signal: AbortSignal,
  times: WatchTimes,
  onListening: () => void,
): Promise<never> {
  const end = new AbortController();
  const running = AbortSignal.any([signal, end.signal]);
  const proof = new Proof(node, running, times);
  const take = async (): Promise<never> => {
    const filters = [...watchedTopics, `topic=="${proof.topic}"`];
    for await (const event of node.client.events.subscribe(filters, { signal: running })) {
      if (event.namespace !== node.namespace) continue;
      if (event.topic === proof.topic) proof.arrived();
      else tell(event, queue);
    }
    throw new RuntimeError("unavailable", `containerd on ${node.client.address} ended the stream of its events`);
  };
  const works: Promise<never>[] = [take(), proof.repeat(onListening)];
  if (!sendsRemovals(node.version)) works.push(pollSnapshots(node, queue, running, times.pollIntervalMs));
  try {
    return await Promise.race(works);
  } finally {
    end.abort();
    await Promise.allSettled(works);
  }
}

/** Filters are alternatives (containerd `pkg/filters`). Preparing and committing snapshots takes nothing away. */
const watchedTopics = ['topic~="^/images/"', 'topic=="/snapshot/remove"', 'topic=="/content/delete"'];

/** Whether garbage collection tells which snapshots it removes: since 1.7 (`metadata/gc.go`). */
function sendsRemovals(version: string): boolean {
  const parsed = parseVersion(version);
  return parsed !== undefined && isFrom(parsed, [1, 7, 0]);
}

function tell({ topic, subject = "" }: ContainerdEvent, queue: ChangeQueue): void {
  if (topic.startsWith("/images/") && !isIDRecord(subject)) queue.push({ type: "changed", name: subject });
  // Each container that ends removes its own snapshot, whose key is no chainID.
  else if (topic !== "/snapshot/remove" || /^(?:sha256:|nodewarm\/)/.test(subject)) queue.push({ type: "changed" });
}

/** An event that is sent to come back. */
class Proof {
  /** Of this stream alone. */
  readonly topic = `/nodewarm/${randomUUID()}`;
  readonly #node: WatchedNode;
  readonly #signal: AbortSignal;
  readonly #times: WatchTimes;
  #arrive: () => void = () => {};

  constructor(node: WatchedNode, signal: AbortSignal, times: WatchTimes) {
    this.#node = node;
    this.#signal = signal;
    this.#times = times;
  }

  arrived(): void {
    this.#arrive();
  }

  /** Throws `RuntimeError` when one does not come back, or the reason of the signal. */
  async repeat(onFirst: () => void): Promise<never> {
    await this.#prove(firstProofMs);
    onFirst();
    for (;;) {
      await sleep(this.#times.proofIntervalMs, undefined, { signal: this.#signal });
      await this.#prove(this.#times.proofTimeoutMs);
    }
  }

  /** Sends until one has come back. */
  async #prove(againMs: number): Promise<void> {
    const { proofTimeoutMs } = this.#times;
    const arrival = new Promise<true>((resolve) => {
      this.#arrive = () => resolve(true);
    });
    for (let waitedMs = 0, waitMs = againMs; waitedMs < proofTimeoutMs; waitedMs += waitMs, waitMs *= 2) {
      await this.#node.in.events.publish(this.topic, { signal: this.#signal, timeoutMs: proofTimeoutMs });
      const timer = new AbortController();
      const signal = AbortSignal.any([this.#signal, timer.signal]);
      const late = sleep(waitMs, false as const, { signal });
      late.catch(() => {});
      const isThere = await Promise.race([arrival, late]);
      timer.abort();
      if (isThere) return;
    }
    throw new RuntimeError(
      "deadline-exceeded",
      `containerd on ${this.#node.client.address} answers, but its events do not arrive: none within ${proofTimeoutMs} ms`,
    );
  }
}
