import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import type { Digest } from "../../oci/descriptor.ts";
import { BarProgress } from "./bar-progress.ts";
import { PlainProgress } from "./plain-progress.ts";
import { createProgress } from "./progress.ts";
import { RateMeter } from "./rate-meter.ts";

const MiB = 1 << 20;
const diffID: Digest = `sha256:${"0123456789abcdef".repeat(4)}`;

function recorder(properties: { isTTY?: boolean; columns?: number; rows?: number } = {}) {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { output: Object.assign(stream, properties), text: () => chunks.join("") };
}

test("plain progress has a line at the start and the end of each layer, and one of each phase", () => {
  const { output, text } = recorder();
  let nowMs = 0;
  const progress = new PlainProgress(output, () => nowMs);
  progress.resolving(0, 2);
  progress.resolving(1, 2);
  progress.begin({ path: "disk.erofs", layers: 1, bytes: 40 * MiB });
  progress.event({ type: "phase", phase: "layers" });
  progress.event({
    type: "layer-start",
    diffID,
    image: "docker.io/library/nginx:1.29",
    sizeBytes: 40 * MiB,
    reused: false,
  });
  nowMs = 2000;
  progress.event({ type: "layer-progress", diffID, bytes: 20 * MiB });
  nowMs = 31_000;
  progress.event({ type: "layer-progress", diffID, bytes: 30 * MiB });
  nowMs = 32_500;
  progress.event({ type: "layer-end", diffID });
  progress.event({ type: "phase", phase: "metadata" });
  progress.event({ type: "phase", phase: "sync" });
  progress.close();
  assert.deepEqual(text().split("\n"), [
    "resolving 2 images",
    "building disk.erofs: 1 layer, 40.0 MiB compressed",
    "layer 1/1 sha256:0123456789ab: reading 40.0 MiB (nginx:1.29)",
    "layer 1/1 sha256:0123456789ab: 30.0 MiB of 40.0 MiB, 353 KiB/s",
    "layer 1/1 sha256:0123456789ab: done in 32.5 s",
    "writing metadata",
    "flushing to disk",
    "",
  ]);
});

test("bars are redrawn in their place and leave a clean terminal", () => {
  const { output, text } = recorder({ isTTY: true, columns: 80, rows: 24 });
  const progress = new BarProgress(output, { LANG: "C" }, () => 0);
  progress.begin({ path: "disk.erofs", layers: 1, bytes: MiB });
  progress.close();
  progress.close();
  const written = text();
  assert.ok(written.startsWith("\u001b[?25l"), "the cursor is hidden");
  assert.ok(written.endsWith("\u001b[1A\r\u001b[J\u001b[?25h"), "the area is cleared and the cursor back");
});

test("bars are for terminals only", () => {
  const terminal = recorder({ isTTY: true, columns: 80, rows: 24 });
  assert.ok(createProgress("auto", terminal.output, { TERM: "xterm" }) instanceof BarProgress);
  assert.ok(createProgress("plain", terminal.output, { TERM: "xterm" }) instanceof PlainProgress);
  assert.ok(createProgress("auto", terminal.output, { TERM: "dumb" }) instanceof PlainProgress);
  assert.ok(createProgress("auto", recorder().output, { TERM: "xterm" }) instanceof PlainProgress);
});

test("no progress writes nothing", () => {
  const { output, text } = recorder({ isTTY: true });
  const progress = createProgress("none", output, {});
  progress.resolving(0, 1);
  progress.begin({ path: "d", layers: 1, bytes: 1 });
  progress.event({ type: "phase", phase: "sync" });
  progress.close();
  assert.equal(text(), "");
});

test("a rate covers the last five seconds", () => {
  const meter = new RateMeter(0);
  for (let ms = 100; ms <= 10_000; ms += 100) meter.update(ms * 1000, ms);
  assert.equal(Math.round(meter.bytesPerSecond(10_000) / 1000), 1000);
  meter.update(10_000_000, 12_500);
  assert.ok(Math.abs(meter.bytesPerSecond(12_500) - 500_000) < 60_000);
  assert.equal(meter.bytesPerSecond(20_000), 0);
});

test("a rate is not told before there is anything to measure", () => {
  const meter = new RateMeter(0);
  meter.update(1000, 10);
  assert.equal(meter.bytesPerSecond(10), 0);
});
