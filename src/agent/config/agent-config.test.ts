import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fieldTable } from "../../kubernetes/field-table.ts";
import { agentConfigSchema } from "./agent-config.ts";

test("the documentation has the table of fields that the schema gives", () => {
  const page = readFileSync(new URL("../../../docs/agent.md", import.meta.url), "utf8");
  const table = fieldTable(agentConfigSchema);
  assert.ok(page.includes(table), `docs/agent.md must hold this table:\n\n${table}`);
});
