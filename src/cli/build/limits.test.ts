import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Limit } from "../../oci/limit.ts";
import { formatLimit } from "../format.ts";
import { UsageError } from "../usage-error.ts";
import { buildHelp } from "./help.ts";
import { limits, parseLimits } from "./limits.ts";

const table: Record<string, Limit> = {
  "some-bytes": { default: 4 << 20, unit: "bytes", description: "bytes of something" },
  "some-ratio": { default: 1000, unit: "ratio", description: "this per that" },
  "some-seconds": { default: 30, unit: "seconds", description: "time" },
};

test("values may carry decimal and binary suffixes", () => {
  const value = (text: string) => parseLimits([`some-bytes=${text}`], table)["some-bytes"];
  assert.equal(value("1500"), 1500);
  assert.equal(value("2K"), 2000);
  assert.equal(value("1.5M"), 1_500_000);
  assert.equal(value("3G"), 3e9);
  assert.equal(value("1T"), 1e12);
  assert.equal(value("4Ki"), 4096);
  assert.equal(value("1.5Mi"), 1_572_864);
  assert.equal(value("2Gi"), 2 ** 31);
  assert.equal(value("1Ti"), 2 ** 40);
});

test("no seconds are a value, no bytes and no ratio are none", () => {
  assert.deepEqual(parseLimits(["some-seconds=0"], table), { "some-seconds": 0 });
  assert.throws(() => parseLimits(["some-ratio=0"], table), UsageError);
});

test("ratios may be broken numbers, all else is whole", () => {
  assert.deepEqual(parseLimits(["some-ratio=2.5", "some-seconds=90"], table), {
    "some-ratio": 2.5,
    "some-seconds": 90,
  });
});

for (const text of [
  "",
  "x",
  "-1",
  "0",
  "1.5",
  "1k",
  "1Ei",
  "1e9",
  "Infinity",
  "9999999999999999999",
  "0x10",
  " 1",
  "1KB",
]) {
  test(`refuses the value "${text}" and tells the default`, () => {
    assert.throws(
      () => parseLimits([`some-bytes=${text}`], table),
      (error: unknown) => error instanceof UsageError && error.message.includes("the default is 4Mi"),
    );
  });
}

test("refuses a limit given twice or unknown", () => {
  assert.throws(() => parseLimits(["some-bytes=1", "some-bytes=1"], table), /given twice/);
  assert.throws(() => parseLimits(["some-byte=1"], table), /no such limit; did you mean "some-bytes"\?/);
  assert.throws(() => parseLimits(["toString=1"], table), /no such limit/);
});

test("the help text lists every limit with its default", () => {
  const help = buildHelp();
  for (const [name, { description }] of Object.entries(limits)) {
    assert.ok(help.includes(`  ${name} `) && help.includes(description), name);
  }
  assert.ok(Object.keys(limits).length > 10);
  for (const line of help.split("\n")) assert.ok(line.length <= 130, line);
});

test("the documentation has the table of limits", () => {
  const page = readFileSync(new URL("../../../docs/operations.md", import.meta.url), "utf8");
  const rows = Object.entries(limits).map(
    ([name, { default: value, unit, description }]) => `| \`${name}\` | ${formatLimit(value, unit)} | ${description} |`,
  );
  const table = ["| limit | default | |", "|---|---|---|", ...rows, ""].join("\n");
  assert.ok(page.includes(table), `docs/operations.md must hold this table:\n\n${table}`);
});
