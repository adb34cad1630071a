import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type { LogLine } from "../../agent/log-line.ts";
import { logWriter } from "./log-writer.ts";

const digest = `sha256:${"a".repeat(64)}`;
const lines: readonly LogLine[] = [
  { event: "listening", fields: { address: "127.0.0.1:9470" } },
  {
    event: "image-phase",
    runtime: "containerd 2.4.2 (/run/c.sock, k8s.io)",
    fields: { image: "docker.io/library/web:1", digest, phase: "Held", reason: 'a "quoted"\nreason' },
  },
  {
    event: "action-failed",
    runtime: "containerd",
    fields: { action: "fetch", image: "docker.io/library/web:1", digest, error: "no\u001b[31m route", code: "x" },
  },
];

function written(isJson: boolean): string {
  const output = new PassThrough({ encoding: "utf8" });
  const log = logWriter(output, isJson, () => new Date(0));
  for (const line of lines) log(line);
  return String(output.read());
}

test("JSON lines begin with time, level and event, and have the fields of the event", () => {
  const image = '"image":"docker.io/library/web:1"';
  const time = '"time":"1970-01-01T00:00:00.000Z"';
  assert.equal(
    written(true),
    `{${time},"level":"info","event":"listening","address":"127.0.0.1:9470"}
{${time},"level":"info","event":"image-phase","runtime":"containerd 2.4.2 (/run/c.sock, k8s.io)",${image},"digest":"${digest}","phase":"Held","reason":"a \\"quoted\\"\\nreason"}
{${time},"level":"warning","event":"action-failed","runtime":"containerd","action":"fetch",${image},"digest":"${digest}","error":"no\\u001b[31m route","code":"x"}
`,
  );
});

test("without JSON each is a line of words, whatever texts from outside hold", () => {
  assert.equal(
    written(false),
    `listening address=127.0.0.1:9470
image-phase image=docker.io/library/web:1 digest=${digest} phase=Held reason="a \\"quoted\\"\\nreason" runtime="containerd 2.4.2 (/run/c.sock, k8s.io)"
warning: action-failed action=fetch image=docker.io/library/web:1 digest=${digest} error="no\\u001b[31m route" code=x runtime=containerd
`,
  );
});
