import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OciError } from "../../oci/oci-error.ts";
import { TryAgain } from "../../oci/registry/retry.ts";
import { RequestBudget } from "./request-budget.ts";

const { signal } = new AbortController();

/** A clock that goes on only when somebody waits. */
function virtual(rate = { perSecond: 2, burst: 3 }, random = 0) {
  let nowMs = 1000;
  const waits: number[] = [];
  const budget = new RequestBudget({
    rateOf: () => rate,
    now: () => nowMs,
    random: () => random,
    wait: async (delayMs) => {
      waits.push(Math.round(delayMs));
      nowMs += delayMs;
    },
  });
  return { budget, waits, pass: (ms: number) => (nowMs += ms) };
}

async function failureOf(turn: Promise<void>): Promise<TryAgain> {
  const error = await turn.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TryAgain, `${error}`);
  return error;
}

describe("questions about tags", () => {
  test("may come in a burst and then wait for their turn, each server for itself", async () => {
    const { budget, waits } = virtual();
    for (let i = 0; i < 3; i++) await budget.turn("a", "tag", signal);
    assert.deepEqual(waits, []);
    for (let i = 0; i < 3; i++) await budget.turn("a", "tag", signal);
    assert.deepEqual(waits, [500, 500, 500]);
    await budget.turn("b", "tag", signal);
    assert.equal(waits.length, 3);
  });

  test("gather turns in a pause, but no more than a burst", async () => {
    const { budget, waits, pass } = virtual();
    for (let i = 0; i < 3; i++) await budget.turn("a", "tag", signal);
    pass(3_600_000);
    for (let i = 0; i < 4; i++) await budget.turn("a", "tag", signal);
    assert.deepEqual(waits, [500]);
  });

  test("that come together are spread, and jittered", async () => {
    const waits: number[] = [];
    const budget = new RequestBudget({
      rateOf: () => ({ perSecond: 10, burst: 1 }),
      now: () => 0,
      random: () => 1,
      wait: async (delayMs) => void waits.push(Math.round(delayMs)),
    });
    await Promise.all([1, 2, 3, 4].map(() => budget.turn("a", "tag", signal)));
    assert.deepEqual(waits, [125, 250, 375]);
  });

  test("give their turn back when they are given up", async () => {
    const budget = new RequestBudget({ rateOf: () => ({ perSecond: 0.1, burst: 1 }) });
    await budget.turn("a", "tag", signal);
    const controller = new AbortController();
    const waiting = budget.turn("a", "tag", controller.signal);
    controller.abort(new Error("given up"));
    await assert.rejects(waiting, /given up/);
    await assert.rejects(budget.turn("a", "tag", controller.signal), /given up/);
  });

  test("are the only ones that are counted", async () => {
    const { budget, waits } = virtual();
    for (let i = 0; i < 100; i++) await budget.turn("a", "content", signal);
    assert.deepEqual(waits, []);
  });
});

describe("a server that was asked too often", () => {
  test("is left alone as long as it asks, by questions of both kinds", async () => {
    const { budget, pass } = virtual();
    budget.limited("a", 60_000);
    for (const kind of ["tag", "content"] as const) {
      const { failure, retryAfterMs } = await failureOf(budget.turn("a", kind, signal));
      assert.ok(failure instanceof OciError && failure.code === "rate-limited");
      assert.match(failure.message, /^a asked .* 60 s$/);
      assert.equal(retryAfterMs, 60_000);
    }
    await budget.turn("b", "content", signal);
    pass(60_000);
    await budget.turn("a", "content", signal);
  });

  test("is waited for when that is short", async () => {
    const { budget, waits } = virtual();
    budget.limited("a", 2000);
    await budget.turn("a", "content", signal);
    assert.deepEqual(waits, [2000]);
  });

  test("that does not say for how long is left alone longer each time, until it serves again", async () => {
    const { budget, pass } = virtual();
    const holds: number[] = [];
    const hold = async (): Promise<void> => {
      budget.limited("a", undefined);
      const heldMs = await budget.turn("a", "content", signal).then(
        () => 5000,
        (error: TryAgain) => error.retryAfterMs ?? 0,
      );
      holds.push(Math.round(heldMs / 1000));
      pass(heldMs);
    };
    for (let i = 0; i < 8; i++) await hold();
    budget.served("a");
    await hold();
    assert.deepEqual(holds, [5, 10, 20, 40, 80, 160, 300, 300, 5]);
  });

  test("cannot silence us for more than an hour, nor shorten what it asked before", async () => {
    const { budget } = virtual();
    budget.limited("a", Number.MAX_SAFE_INTEGER);
    budget.limited("a", 1000);
    assert.equal((await failureOf(budget.turn("a", "tag", signal))).retryAfterMs, 3_600_000);
  });
});
