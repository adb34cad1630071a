import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { restingStatus } from "../../../test/support/agent/agent-status.ts";
import type { AgentStatus } from "../../agent/status.ts";
import { watchAgent } from "./watch-agent.ts";

/** What is shown of these answers, one after the other, until the user has seen enough; each is given `asks` times. */
async function watch(
  answers: readonly AgentStatus[],
  { isJson = false, rows }: { readonly isJson?: boolean; readonly rows?: number } = {},
): Promise<string> {
  const stop = new AbortController();
  const stdout = Object.assign(new PassThrough({ encoding: "utf8" }), rows === undefined ? {} : { isTTY: true, rows });
  let asked = 0;
  const agent = {
    status: async () => {
      const runtime = answers[asked++];
      if (runtime === undefined) {
        stop.abort(new Error("seen enough"));
        throw stop.signal.reason;
      }
      return { version: "1", runtimes: [runtime] };
    },
  };
  assert.equal(await watchAgent(agent, { stdout, signal: stop.signal }, { isJson, intervalMs: 1 }), 0);
  return String(stdout.read() ?? "");
}

function after(phaseSeconds: number, phase: "Warm" | "Failed" = "Warm"): AgentStatus {
  return { ...restingStatus, images: restingStatus.images.map((image) => ({ ...image, phaseSeconds, phase })) };
}

test("what is not a terminal is shown what is new, and not that time passes", async () => {
  const text = await watch([after(1), after(2), after(3, "Failed"), after(4, "Failed"), after(5)]);
  assert.deepEqual(
    [...text.matchAll(/^web:1 +(\w+) .* (\d+s)$/gm)].map(([, phase, time]) => [phase, time]),
    [
      ["Warm", "1s"],
      ["Failed", "3s"],
      ["Warm", "5s"],
    ],
  );
});

test("as JSON each line is one object", async () => {
  const text = await watch([after(1), after(2), after(3, "Failed")], { isJson: true });
  const lines = text.trim().split("\n");
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [after(1), after(3, "Failed")].map((status) => ({ version: "1", runtimes: [status] })),
  );
});

test("a terminal is drawn anew in its place, and never more than it has rows", async () => {
  const text = await watch([after(1), after(2)], { rows: 6 });
  const lines = text.split("\n").length - 1;
  assert.equal(lines, 10, "two drawings of five lines");
  assert.match(text, /1s/);
  assert.match(text, /2s/);
  assert.match(text, /and 2 lines more: see nodewarm status/);
});

test("an agent that ends ends the watch with its error", async () => {
  const { signal } = new AbortController();
  const agent = { status: () => Promise.reject(new Error("connect ECONNREFUSED")) };
  await assert.rejects(watchAgent(agent, { stdout: new PassThrough(), signal }, { isJson: false }), /ECONNREFUSED/);
});
