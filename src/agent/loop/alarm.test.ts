import assert from "node:assert/strict";
import { test } from "node:test";
import { Alarm } from "./alarm.ts";
import type { Clock } from "./clock.ts";

/** A clock that stands, and how many of its timers run. */
function countingClock(): Clock & { running: number } {
  return {
    running: 0,
    nowMs: () => 0,
    wallSeconds: () => 0,
    after() {
      this.running++;
      return () => {
        this.running--;
      };
    },
  };
}

test("an alarm that is stopped leaves no timer, which would keep the process", () => {
  const clock = countingClock();
  const alarm = new Alarm(clock);
  alarm.ringAt(300_000);
  assert.equal(clock.running, 1);
  alarm.stop();
  alarm.ringAt(1000);
  assert.equal(clock.running, 0);
});

test("of many wishes only the earliest is a timer", () => {
  const clock = countingClock();
  const alarm = new Alarm(clock);
  for (const atMs of [300, 200, 250, 100, 400]) alarm.ringAt(atMs);
  assert.equal(clock.running, 1);
});

test("a timer that is early by a fraction, before anybody waits, is not the end of all waiting", async () => {
  const timers = new Set<() => void>();
  let nowMs = 0;
  const clock: Clock = {
    nowMs: () => nowMs,
    wallSeconds: () => 0,
    after(_, callback) {
      timers.add(callback);
      return () => void timers.delete(callback);
    },
  };
  const fire = () => {
    for (const callback of [...timers]) if (timers.delete(callback)) callback();
  };
  const alarm = new Alarm(clock);
  alarm.ringAt(100);
  nowMs = 99.6;
  fire();
  const waiting = alarm.wait(new AbortController().signal);
  assert.equal(timers.size, 1, "it is to ring again");
  nowMs = 100;
  fire();
  await waiting;
});
