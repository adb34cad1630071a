import type { ImageMemory, Memory } from "./memory.ts";

const firstMs = 1000;
const longestMs = 300_000;
/** Deletions within the window that are undone at once: people and collectors delete now and then. */
const freeLosses = 5;
const windowMs = 300_000;
/** Deletions within the hour from which somebody should be told. */
const tellingLosses = 3;

/** Wait after `count` failures in a row: doubles from a second to five minutes. */
export function failureDelayMs(count: number): number {
  return Math.min(firstMs * 2 ** Math.min(count - 1, 20), longestMs);
}

/** Until when an image that others keep deleting is left alone; 0 when it is not. */
export function restoreAtMs(image: ImageMemory | undefined, nowMs: number): number {
  const recent = (image?.lostAtMs ?? []).filter((lostMs) => nowMs - lostMs < windowMs);
  const over = recent.length - freeLosses;
  return over <= 0 ? 0 : (recent.at(-1) ?? 0) + failureDelayMs(over);
}

/** Whether somebody keeps deleting it. */
export function keepsDisappearing(image: ImageMemory | undefined): boolean {
  return (image?.lostAtMs.length ?? 0) >= tellingLosses;
}

/** Until when not to try again what succeeded in vain; 0 when there is no such thing. The second try comes at once. */
export function vainUntilMs(vain: Memory["vain"] | Memory["repeats"], key: string): number {
  const found = vain.get(key);
  return found === undefined || found.count < 2 ? 0 : found.atMs + failureDelayMs(found.count - 1);
}
