import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogLine } from "../log-line.ts";
import { WarmTimes } from "./warm-times.ts";

const image = "docker.io/library/web:1";

function phase(name: string, now: string): LogLine {
  return { event: "image-phase", fields: { image: name, phase: now, ...(now === "Warm" && { source: "disk" }) } };
}

test("the time runs from the first phase that is not warm, whatever phases follow", () => {
  const times = new WarmTimes();
  assert.equal(times.note(phase(image, "Pending"), 1000), undefined);
  assert.equal(times.note(phase(image, "Injecting"), 2000), undefined);
  assert.deepEqual(times.note(phase(image, "Warm"), 3500), { source: "disk", seconds: 2.5, wasLost: false });
  assert.equal(times.note(phase(image, "Warm"), 9000), undefined, "it was warm before");
});

test("a loss begins a time of its own, and is told when it is over", () => {
  const times = new WarmTimes();
  times.note({ event: "image-lost", fields: { image } }, 0);
  times.note(phase(image, "Pending"), 10);
  assert.deepEqual(times.note(phase(image, "Warm"), 500), { source: "disk", seconds: 0.5, wasLost: true });
});

test("where a tag moves, the time runs from when the new digest is known, though the image is warm until the name moves", () => {
  const times = new WarmTimes();
  const moved = (digest: string): LogLine => ({ event: "image-update", fields: { image, digest } });
  const pending = (digest: string): LogLine => ({ event: "image-phase", fields: { image, digest, phase: "Pending" } });
  times.note(moved("sha256:2"), 1000);
  times.note(pending("sha256:2"), 8000);
  assert.equal(times.note(phase(image, "Warm"), 8100)?.seconds, 7.1);
  times.note(moved("sha256:3"), 10_000);
  times.note(pending("sha256:2"), 50_000);
  assert.equal(
    times.note(phase(image, "Warm"), 51_000)?.seconds,
    1,
    "that was taken back, and something else happened",
  );
});

test("an image that is not wanted any more is forgotten, and begins anew when it is", () => {
  const times = new WarmTimes();
  times.note(phase(image, "Failed"), 0);
  times.note({ event: "image-unwanted", fields: { image } }, 1000);
  times.note(phase(image, "Pending"), 60_000);
  assert.equal(times.note(phase(image, "Warm"), 61_000)?.seconds, 1);
});

test("endless images that are never warm take bounded memory, and those that are timed stay so", () => {
  const times = new WarmTimes();
  times.note(phase(image, "Pending"), 0);
  for (let i = 0; i < 20_000; i++) times.note(phase(`example.com/${i}:1`, "Pending"), i);
  assert.equal(times.note(phase("example.com/19999:1", "Warm"), 30_000), undefined);
  assert.equal(times.note(phase(image, "Warm"), 30_000)?.seconds, 30);
});
