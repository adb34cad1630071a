import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { needsRoot } from "../../../test/support/privileges.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { InjectReport } from "../../runtime/runtime.ts";
import { RuntimeError } from "../../runtime/runtime-error.ts";
import type { AgentStatus } from "../status.ts";
import { AgentsControl } from "./agents-control.ts";
import type { AgentControl, EjectRequest, InjectRequest } from "./control.ts";
import { type AgentClient, findAgent } from "./control-client.ts";
import { serveControl } from "./control-server.ts";

const runtime = "containerd 2.4.2";
const status: AgentStatus = {
  runtime,
  images: [],
  disks: [],
  sets: [],
  gate: { isReady: true, reason: "no image is gated" },
  conditions: [],
};
const report: InjectReport = {
  disk: "d".repeat(64),
  images: [],
  conditions: [],
  calls: 3,
  transactions: 6,
  seconds: { usable: 0.1, chains: 0.2 },
};
const injectRequest: InjectRequest = { runtime, path: "/disks/a.erofs", handlers: "all", force: false, chains: true };
const never = new AbortController().signal;

/** An agent that answers as told, and what it was asked. */
function scripted(answers: Partial<AgentControl> = {}): AgentControl {
  return {
    status: () => [status],
    disks: async () => [],
    inject: async () => report,
    eject: async () => ({ disks: [] }),
    ...answers,
  };
}

async function serve(scope: Scope, control: AgentControl): Promise<{ path: string; agent: AgentClient }> {
  const path = join(await temporaryDirectory(scope, "control"), "run/agent.sock");
  const server = await serveControl({ path, control, version: "1.2.3" });
  scope.defer(() => server[Symbol.asyncDispose]());
  const agent = await findAgent(path, never);
  assert.ok(agent);
  return { path, agent };
}

test("an agent tells its version and the status of each runtime", async () => {
  await using scope = new AsyncDisposableStack();
  const { agent } = await serve(scope, scripted());
  assert.deepEqual(await agent.status({ signal: never }), { version: "1.2.3", runtimes: [status] });
});

test("events come while the work goes on, the report at its end", async () => {
  await using scope = new AsyncDisposableStack();
  const release = Promise.withResolvers<void>();
  const asked: InjectRequest[] = [];
  const { agent } = await serve(
    scope,
    scripted({
      async inject(request, { onEvent }) {
        asked.push(request);
        onEvent?.({ type: "chains", done: 1, total: 2 });
        await release.promise;
        return report;
      },
    }),
  );
  const events: unknown[] = [];
  const answer = await agent.inject(
    { ...injectRequest, images: ["docker.io/library/web:1"] },
    {
      signal: never,
      onEvent(event) {
        events.push(event);
        release.resolve();
      },
    },
  );
  assert.deepEqual(asked, [{ ...injectRequest, images: ["docker.io/library/web:1"] }]);
  assert.deepEqual(events, [{ type: "chains", done: 1, total: 2 }]);
  assert.deepEqual(answer, report);
});

test("what the agent refuses comes with its own words", async () => {
  await using scope = new AsyncDisposableStack();
  const message = "in use by container web; remove it, or eject with --wait or --materialize";
  const eject = async (_: EjectRequest) => {
    throw new RuntimeError("failed-precondition", message);
  };
  const { agent } = await serve(scope, scripted({ eject }));
  await assert.rejects(agent.eject({ runtime, disks: [], wait: false, materialize: false }, { signal: never }), {
    code: "agent-failed",
    message,
  });
});

test("work stops when the caller goes", async () => {
  await using scope = new AsyncDisposableStack();
  let isStopped = false;
  const { agent } = await serve(
    scope,
    scripted({
      async eject(_, { signal, onEvent }) {
        onEvent?.({ type: "waiting", users: [] });
        await sleep(60_000, undefined, { signal }).catch(() => {
          isStopped = true;
        });
        return { disks: [] };
      },
    }),
  );
  const caller = new AbortController();
  const asked = agent.eject(
    { runtime, disks: [], wait: true, materialize: false },
    { signal: caller.signal, onEvent: () => caller.abort(new Error("interrupted")) },
  );
  await assert.rejects(asked, { message: "interrupted" });
  await waitUntil("the work is stopped", async () => isStopped);
});

test("an agent that ends in the middle is told from one that fails", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope, "control"), "agent.sock");
  let isAsked = false;
  const control = scripted({
    inject: () => {
      isAsked = true;
      return new Promise(() => {});
    },
  });
  const server = await serveControl({ path, control, version: "1" });
  const agent = await findAgent(path, never);
  const asked = assert.rejects(agent?.inject(injectRequest, { signal: never }) ?? Promise.resolve(), {
    code: "agent-failed",
    message: /stopped meanwhile/,
  });
  await waitUntil("the agent is asked", async () => isAsked);
  await server[Symbol.asyncDispose]();
  await asked;
});

test("without an agent there is none, also where one was killed", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "control");
  assert.equal(await findAgent(join(folder, "agent.sock"), never), undefined);
  const path = join(folder, "left.sock");
  await run(process.execPath, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
  ]).catch(() => {});
  assert.equal((await stat(path)).isSocket(), true);
  assert.equal(await findAgent(path, never), undefined);
  const server = await serveControl({ path, control: scripted(), version: "1" });
  assert.ok(await findAgent(path, never));
  await server[Symbol.asyncDispose]();
  assert.equal(await findAgent(path, never), undefined);
});

test("nobody but root opens the socket", { skip: needsRoot }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path } = await serve(scope, scripted());
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

/** Sends bytes as no client of ours does. */
async function post(
  path: string,
  url: string,
  body: string,
  method = "POST",
): Promise<{ status?: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: path, path: url, method, agent: false }, async (answer) => {
      let text = "";
      for await (const chunk of answer) text += chunk;
      resolve({ ...(answer.statusCode !== undefined && { status: answer.statusCode }), text });
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

for (const [what, url, body, method, wanted] of [
  ["no JSON", "/v1/inject", "{", "POST", /^400 .*not JSON/],
  ["a relative path", "/v1/inject", JSON.stringify({ ...injectRequest, path: "a" }), "POST", /^400 .*path: must be/],
  [
    "an unknown field",
    "/v1/eject",
    JSON.stringify({ runtime, disks: [], wait: true, materialize: true, x: 1 }),
    "POST",
    /^400 /,
  ],
  [
    "a path where an id belongs",
    "/v1/eject",
    '{"runtime":"x","disks":["../x"],"wait":true,"materialize":true}',
    "POST",
    /^400 .*disks/,
  ],
  ["a request without end", "/v1/eject", "x".repeat(2 << 20), "POST", /^413 /],
  ["a place that is not", "/v2", "", "GET", /^404 /],
  ["the wrong method", "/v1/inject", "", "GET", /^405 .*use POST/],
] as const) {
  test(`${what} is refused before anything is done`, async () => {
    await using scope = new AsyncDisposableStack();
    const fail = async () => assert.fail("nothing may be done");
    const { path } = await serve(scope, scripted({ inject: fail, eject: fail }));
    const { status, text } = await post(path, url, body, method).catch((error) => ({
      status: 413,
      text: String(error),
    }));
    assert.match(`${status} ${text}`, wanted);
  });
}

test("a runtime that the agent does not have is refused, with those that it has", async () => {
  await using scope = new AsyncDisposableStack();
  const entry = {
    agent: { status, injectByHand: async () => report, ejectByHand: async () => ({ disks: [] }) },
    runtime: { status: async () => [] },
  };
  const { agent } = await serve(scope, new AgentsControl(() => [entry]));
  assert.deepEqual(await agent.disks(runtime, { signal: never }), []);
  assert.deepEqual(await agent.inject(injectRequest, { signal: never }), report);
  await assert.rejects(agent.disks("docker", { signal: never }), { message: /"docker": it has containerd 2\.4\.2/ });
});

test("something else on the socket is no agent, and is said to be none", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope, "control"), "agent.sock");
  const server = createServer((socket) => socket.end("hello\n"));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  scope.defer(async () => void server.close());
  await assert.rejects(findAgent(path, never), /Parse Error|agent/);
});
