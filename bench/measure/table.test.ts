import assert from "node:assert/strict";
import { test } from "node:test";
import { count, markdownTable, mebibytes, megabytes, significant } from "./table.ts";

test("columns line up, names to the left and figures to the right", () => {
  const table = markdownTable(
    ["set", "build s"],
    [
      ["SYN-6", "1.50"],
      ["A", "120 (±3 %)"],
    ],
  );
  assert.equal(
    table,
    ["| set   |    build s |", "|-------|-----------:|", "| SYN-6 |       1.50 |", "| A     | 120 (±3 %) |"].join("\n"),
  );
});

test("a row may leave out its last cells", () => {
  assert.equal(markdownTable(["a", "b"], [["x"]]).split("\n")[2], "| x   |     |");
});

test("figures have about three digits", () => {
  assert.deepEqual([1234.5, 12.345, 1.2345, 0].map(significant), ["1235", "12.3", "1.23", "0.00"]);
  assert.equal(significant(Number.NaN), "");
  assert.equal(megabytes(5_368_709_120), "5369");
  assert.equal(mebibytes(419_430_400), "400");
  assert.equal(count(3_003_000), "3,003,000");
});
