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
