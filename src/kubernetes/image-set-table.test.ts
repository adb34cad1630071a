import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { imageSetTable } from "./image-set-table.ts";

test("the documentation has the table of fields that the schema gives", () => {
  const page = readFileSync(new URL("../../docs/image-set.md", import.meta.url), "utf8");
  assert.ok(page.includes(imageSetTable()), `docs/image-set.md must hold this table:\n\n${imageSetTable()}`);
});
