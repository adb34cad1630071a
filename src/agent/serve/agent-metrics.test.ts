import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import type { AgentParts } from "../loop/parts.ts";
import type { AgentStatus } from "../status.ts";
import { AgentMetrics } from "./agent-metrics.ts";

const web = "docker.io/library/web:1";

test("docs/agent.md has every metric", () => {
  const page = readFileSync(new URL("../../../docs/agent.md", import.meta.url), "utf8");
  const rows = new AgentMetrics(() => []).list().map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  const table = ["| metric | type | |", "|---|---|---|", ...rows, ""].join("\n");
  assert.ok(page.includes(table), `docs/agent.md must hold this table:\n\n${table}`);
});

test("what an agent does is counted, and what it shows is shown", async () => {
  const statuses: AgentStatus[] = [];
  const metrics = new AgentMetrics(() => statuses);
  class CountedSetting extends AgentSetting {
    override parts(): AgentParts {
      return metrics.count(super.parts());
    }
  }
  await using setting = new CountedSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "gone:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  statuses.push(setting.agent.status);
  const text = metrics.render();
  assert.match(text, /^nodewarm_images\{runtime="memory",phase="Warm",source="registry"\} 1$/m);
  assert.match(text, /^nodewarm_registry_questions_total\{registry="docker.io",about="tag"\} [23]$/m);
  assert.match(text, /^nodewarm_action_seconds_count\{action="fetch"\} 1$/m);
  assert.match(text, /^nodewarm_failures_total\{kind="resolve-tag",code="[a-z-]+"\} [12]$/m);
  assert.match(text, /^nodewarm_ready\{runtime="memory"\} 0$/m);
});
