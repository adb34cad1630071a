import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatBytes,
  formatClock,
  formatCount,
  formatLimit,
  formatSeconds,
  shortDigest,
  shortImage,
} from "./format.ts";

test("bytes have three digits that count", () => {
  assert.deepEqual([0, 1, 999, 1000, 1024, 10_240, 1 << 20, 27.34 * 2 ** 20, 2 ** 30, 1.5 * 2 ** 40].map(formatBytes), [
    "0 B",
    "1 B",
    "999 B",
    "0.98 KiB",
    "1.00 KiB",
    "10.0 KiB",
    "1.00 MiB",
    "27.3 MiB",
    "1.00 GiB",
    "1.50 TiB",
  ]);
});

test("seconds are short where they are few", () => {
  assert.deepEqual([0, 0.123, 9.99, 12.34, 99.9, 187, 3725].map(formatSeconds), [
    "0.00 s",
    "0.12 s",
    "9.99 s",
    "12.3 s",
    "99.9 s",
    "3m07s",
    "1h02m",
  ]);
  assert.deepEqual([0.4, 59.4, 59.6, 3600, 183_600].map(formatClock), ["0s", "59s", "1m00s", "1h00m", "2d03h"]);
});

test("counts have thousands apart and a noun in number", () => {
  assert.deepEqual(
    [formatCount(1), formatCount(1234567), formatCount(1, "layer"), formatCount(0, "layer")],
    ["1", "1,234,567", "1 layer", "0 layers"],
  );
});

test("limits are written as --limit takes them", () => {
  assert.equal(formatLimit(4 << 20, "bytes"), "4Mi");
  assert.equal(formatLimit(1500, "bytes"), "1500");
  assert.equal(formatLimit(30, "seconds"), "30 s");
  assert.equal(formatLimit(5_000_000, "count"), "5,000,000");
});

test("a short digest keeps its algorithm", () => {
  assert.equal(shortDigest(`sha256:${"0123456789abcdef".repeat(4)}`), "sha256:0123456789ab");
});

test("a short image name keeps what tells images apart", () => {
  assert.equal(shortImage("docker.io/library/nginx:1.29"), "nginx:1.29");
  assert.equal(shortImage("docker.io/team/app:1"), "team/app:1");
  assert.equal(shortImage(`r.example/app@sha256:${"0123456789abcdef".repeat(4)}`), "r.example/app@sha256:0123456789ab");
});
