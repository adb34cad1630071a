import { type Clock, pause } from "./clock.ts";

export type FollowOptions<Item> = {
  readonly onItem: (item: Item) => void;
  /** The stream broke, or ended by itself. */
  readonly onBreak: (error: unknown) => void;
  /** Something may have been missed: the stream is about to begin anew. */
  readonly onRestart: () => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
};

const restartMs = 1000;

/** Gives every item of a stream on, and begins it anew when it breaks, until `signal` aborts. Never throws. */
export async function follow<Item>(start: () => AsyncIterable<Item>, options: FollowOptions<Item>): Promise<void> {
  const { onItem, onBreak, onRestart, clock, signal } = options;
  while (!signal.aborted) {
    try {
      for await (const item of start()) onItem(item);
      if (!signal.aborted) onBreak(new Error("it ended by itself"));
    } catch (error) {
      if (!signal.aborted) onBreak(error);
    }
    await pause(clock, restartMs, signal);
    if (!signal.aborted) onRestart();
  }
}
