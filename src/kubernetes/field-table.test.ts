import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fieldTable } from "./field-table.ts";
import { imageSetSchema } from "./image-set.ts";

test("the documentation has the table of fields that the schema gives", () => {
  const page = readFileSync(new URL("../../docs/image-set.md", import.meta.url), "utf8");
  const table = fieldTable(imageSetSchema);
  assert.ok(page.includes(table), `docs/image-set.md must hold this table:\n\n${table}`);
});
