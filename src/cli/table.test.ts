import assert from "node:assert/strict";
import { test } from "node:test";
import { renderTable } from "./table.ts";

test("columns are as wide as their widest cell, and lines end without spaces", () => {
  const rows = [
    ["name", "size", ""],
    ["ä", "10", "x"],
  ];
  assert.equal(renderTable(rows, [1]), "name  size\nä       10  x\n");
});
