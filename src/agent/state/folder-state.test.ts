import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { needs } from "../../../test/support/privileges.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { AgentError } from "../agent-error.ts";
import { emptyNodeRecord, emptyRuntimeRecord, type NodeRecord } from "./agent-state.ts";
import { FolderState, type FolderStateOptions } from "./folder-state.ts";
import { MemoryNodeState } from "./memory-state.ts";
import { RuntimeState } from "./runtime-state.ts";
import { parseStateDocument, writeStateDocument } from "./state-document.ts";

const { signal } = new AbortController();
const id = "c".repeat(64);
const runtime = "containerd /run/containerd/containerd.sock k8s.io";
const held: NodeRecord = { ...emptyNodeRecord, runtimes: { [runtime]: { ...emptyRuntimeRecord, holds: [id] } } };
const faultSteps = pathToFileURL(join(import.meta.dirname, "../../../test/support/fault-steps.ts")).href;

async function openState(scope: Scope, folder: string, options: Partial<FolderStateOptions> = {}) {
  const state = await FolderState.open(folder, { signal, ...options });
  scope.defer(() => state.close());
  return state;
}

/** As the agent of a runtime sees and changes it. */
const ofAgent = (state: FolderState) => new RuntimeState(state, runtime);

const conditionTypes = (state: FolderState) => state.conditions.map(({ type }) => type);

const hasCode = (code: string) => (error: unknown) => error instanceof AgentError && error.code === code;

test("a burst of changes is written at most twice", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "state");
  const log = join(await temporaryDirectory(scope, "log"), "steps");
  const { code } = await change(folder, 100, { NODEWARM_FAULT_LOG: log });
  assert.equal(code, 0);
  const renames = (await readFile(log, "utf8")).split("\n").filter((step) => step === "rename");
  assert.ok(renames.length >= 1 && renames.length <= 2, `${renames.length} writes`);
});

test("a kill at any step leaves the state before or after it, which the next agent opens", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "state");
  const log = join(work, "steps");
  await seedState(join(work, "counted"));
  assert.equal((await change(join(work, "counted"), 1, { NODEWARM_FAULT_LOG: log })).code, 0);
  const steps = (await readFile(log, "utf8")).trim().split("\n");
  assert.deepEqual(steps, ["write", "sync", "rename", "renamed", "sync"]);
  await Promise.all(
    steps.map(async (step, number) => {
      const folder = join(work, `${number}`);
      await seedState(folder);
      const end = await change(folder, 1, { NODEWARM_FAULT: "kill", NODEWARM_FAULT_STEP: `${number}` });
      assert.equal(end.signal, "SIGKILL", step);
      const state = await openState(scope, folder);
      assert.deepEqual(
        ofAgent(state).record.holds,
        number > steps.indexOf("rename") ? [id, "0".repeat(64)] : [id],
        step,
      );
      assert.deepEqual(state.conditions, [], step);
      await ofAgent(state).change((record) => ({ ...record, holds: [] }));
      assert.deepEqual((await readdir(folder)).sort(), ["lock", "state.json"], step);
    }),
  );
});

test("a write that fails at any step says so, holds in memory, and is made good", async () => {
  await using scope = new AsyncDisposableStack();
  for (const [number, code] of [
    [0, "ENOSPC"],
    [1, "EIO"],
    [2, "EDQUOT"],
    [4, "EIO"],
  ] as const) {
    const folder = await temporaryDirectory(scope, "state");
    await seedState(folder);
    const end = await change(folder, 1, { NODEWARM_FAULT: code, NODEWARM_FAULT_STEP: `${number}` });
    assert.equal(end.code, 3, end.stderr);
    const expected = code === "EIO" ? "state-unusable" : "no-space";
    assert.deepEqual(JSON.parse(end.stdout), { code: expected, conditions: ["StateNotDurable"], holds: 2, after: [] });
    assert.equal(ofAgent(await openState(scope, folder)).record.holds.length, 2, "closing tried again");
    assert.deepEqual((await readdir(folder)).sort(), ["lock", "state.json"]);
  }
});

test("what is damaged is kept aside, and the agent begins anew", async () => {
  await using scope = new AsyncDisposableStack();
  const damages = [
    "",
    "{",
    "null",
    "[]",
    '{"formatVersion":"2"}',
    '{"formatVersion":"3","runtimes":{},"seenDisks":{},"seededDisks":{}}',
    '{"formatVersion":"1","tags":{}}',
    "\0".repeat(4096),
  ];
  for (const text of damages) {
    const folder = await temporaryDirectory(scope, "state");
    await writeFile(join(folder, "state.json"), text, { mode: 0o600 });
    const state = await openState(scope, folder);
    assert.deepEqual([state.record, conditionTypes(state)], [emptyNodeRecord, ["StateDamaged"]]);
    assert.match(state.conditions[0]?.message ?? "", /state\.json/);
    assert.equal(await readFile(join(folder, "state.json.damaged"), "utf8"), text);
    await state.change(() => held);
    await state.close();
    const next = await openState(scope, folder);
    assert.deepEqual([next.record, next.conditions], [held, []]);
  }
});

test("what is no file, or could be another user's, is not read", { skip: needs("setpriv") }, async () => {
  await using scope = new AsyncDisposableStack();
  const sound = writeStateDocument(held);
  const places: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
    folder: (path) => mkdir(join(path, "below"), { recursive: true }),
    link: (path) => symlink("/etc/passwd", path),
    pipe: (path) => run("mkfifo", [path]),
    foreign: async (path) => {
      await writeFile(path, sound);
      await chown(path, 65534, 65534);
    },
    writable: async (path) => {
      await writeFile(path, sound);
      await chmod(path, 0o622);
    },
  };
  for (const [name, make] of Object.entries(places)) {
    const folder = await temporaryDirectory(scope, "state");
    await make(join(folder, "state.json"));
    const state = await openState(scope, folder);
    assert.deepEqual([state.record, conditionTypes(state)], [emptyNodeRecord, ["StateDamaged"]], name);
    await state.change(() => held);
    assert.deepEqual(parseStateDocument(await readFile(join(folder, "state.json"), "utf8"), name), held);
  }
});

test("the first start says that there was no state, until it is written", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "state");
  await chmod(folder, 0o777);
  const state = await openState(scope, folder);
  assert.deepEqual(conditionTypes(state), ["StateMissing"]);
  assert.equal((await stat(folder)).mode & 0o777, 0o755, "others lose the right to write");
  await state.change(() => held);
  assert.deepEqual(state.conditions, []);
  assert.equal((await stat(join(folder, "state.json"))).mode & 0o777, 0o600);
});

test("a state folder serves one agent at a time", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "state");
  const first = await openState(scope, folder);
  await assert.rejects(FolderState.open(folder, { signal, waitMs: 50 }), hasCode("busy"));
  const stopped = new AbortController();
  const waiting = FolderState.open(folder, { signal: stopped.signal });
  stopped.abort(new RangeError("stopped"));
  await assert.rejects(waiting, RangeError);
  const second = FolderState.open(folder, { signal });
  await first.change(() => held);
  await first.close();
  const state = await second;
  scope.defer(() => state.close());
  assert.deepEqual(state.record, held);
  await assert.rejects(
    first.change(() => emptyNodeRecord),
    hasCode("state-unusable"),
  );
});

describe("file systems that cannot be written", { skip: needs("mount") }, () => {
  test("a full one: changes hold in memory and become durable when there is room", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await mountTmpfs(scope, "size=64k,mode=700");
    const state = await openState(scope, folder, { retryMs: 20 });
    await state.change(() => held);
    await assert.rejects(writeFile(join(folder, "filler"), Buffer.alloc(1 << 20)), { code: "ENOSPC" });
    const tags = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => [`a:${i}`, { digest: `sha256:${id}` as const, atSeconds: i }]),
    );
    await assert.rejects(
      ofAgent(state).change((record) => ({ ...record, tags })),
      hasCode("no-space"),
    );
    assert.equal(Object.keys(ofAgent(state).record.tags).length, 100);
    assert.deepEqual(conditionTypes(state), ["StateNotDurable"]);
    assert.deepEqual(parseStateDocument(await readFile(join(folder, "state.json"), "utf8"), "state"), held);
    await rm(join(folder, "filler"));
    await waitUntil("it is written", async () => state.conditions.length === 0);
    const written = parseStateDocument(await readFile(join(folder, "state.json"), "utf8"), "state");
    assert.deepEqual(written.runtimes[runtime]?.tags, tags);
  });

  test("a read-only one: what is there is read, and the agent goes on without", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await mountTmpfs(scope, "size=64k,mode=700");
    await seedState(folder);
    await run("mount", ["-o", "remount,ro", folder]);
    const state = await openState(scope, folder);
    assert.deepEqual([state.record, conditionTypes(state)], [held, ["StateNotDurable"]]);
    await assert.rejects(
      state.change(() => emptyNodeRecord),
      hasCode("state-unusable"),
    );
    const none = await openState(scope, join(folder, "none"));
    assert.deepEqual([none.record, conditionTypes(none)], [emptyNodeRecord, ["StateNotDurable"]]);
    await run("mount", ["-o", "remount,rw", folder]);
    await none.change(() => held);
    assert.deepEqual(none.conditions, []);
    await rm(join(folder, "none"), { recursive: true });
  });
});

test("what was written before runtimes were told apart holds for each of them, until it has a record of its own", () => {
  const other = "docker-graph /run/docker.sock";
  const byHand = { [id]: { path: "/disk", images: ["a:1"] } };
  const tags = { "a:1": { digest: `sha256:${id}` as const, atSeconds: 7 } };
  const first = {
    formatVersion: "1",
    tags,
    holds: [id],
    byHand,
    seenDisks: {},
    seededDisks: { [id]: { path: "/disk", sizeBytes: 1 } },
  };
  const record = parseStateDocument(JSON.stringify(first), "state");
  const state = new MemoryNodeState(record);
  const agents = [runtime, other].map((key) => new RuntimeState(state, key));
  for (const agent of agents) {
    const { formatVersion: _, ...rest } = first;
    assert.deepEqual(agent.record, { ...rest, evicted: {} });
  }
  void agents[0]?.change((each) => ({ ...each, holds: [] }));
  assert.deepEqual(
    agents.map((agent) => [agent.record.holds, agent.record.byHand]),
    [
      [[], byHand],
      [[id], byHand],
    ],
  );
  const reread = parseStateDocument(writeStateDocument(state.record), "state");
  assert.deepEqual(reread, state.record);
});

test("no document stops the agent or yields what is no record", () => {
  const own = {
    tags: fc.dictionary(fc.string(), fc.anything()),
    holds: fc.array(fc.oneof(fc.constant(id), fc.string())),
    byHand: fc.dictionary(fc.oneof(fc.constant(id), fc.constant("__proto__"), fc.string()), fc.anything()),
  };
  const evicted = fc.dictionary(fc.oneof(fc.constant(`sha256:${id}`), fc.string()), fc.record({ atSeconds: fc.nat() }));
  const ofRuntime = fc.record({ ...own, evicted }, { requiredKeys: [] });
  const json = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .record(
        {
          formatVersion: fc.constantFrom("1", "2", 1, "3"),
          ...own,
          runtimes: fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), ofRuntime),
          unassigned: ofRuntime,
          seenDisks: fc.dictionary(fc.string(), fc.anything()),
          seededDisks: fc.constant({}),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(json, (text) => {
      try {
        const record = parseStateDocument(text, "state");
        assert.deepEqual(parseStateDocument(writeStateDocument(record), "state"), record);
        for (const each of Object.values(record.runtimes))
          assert.ok(each.holds.every((held) => /^[0-9a-f]{64}$/.test(held)));
      } catch (error) {
        if (!hasCode("state-unusable")(error)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

async function seedState(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "state.json"), writeStateDocument(held), { mode: 0o600 });
}

async function mountTmpfs(scope: Scope, options: string): Promise<string> {
  const folder = await temporaryDirectory(scope, "tmpfs");
  await run("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder]);
  scope.defer(async () => void (await run("umount", [folder])));
  return folder;
}

type End = {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
};

/** Makes `count` changes at once in a process of its own. Exits with 3 and says what it saw when one fails. */
function change(folder: string, count: number, env: Readonly<Record<string, string>>): Promise<End> {
  const script = `
    import { FolderState } from ${JSON.stringify(join(import.meta.dirname, "folder-state.ts"))};
    import { RuntimeState } from ${JSON.stringify(join(import.meta.dirname, "runtime-state.ts"))};
    const state = await FolderState.open(process.argv[1], { signal: new AbortController().signal });
    const holds = Array.from({ length: ${count} }, (_, i) => String(i).padStart(64, "0"));
    const agent = new RuntimeState(state, ${JSON.stringify(runtime)});
    const types = () => state.conditions.map(({ type }) => type);
    try {
      await Promise.all(holds.map((id) => agent.change((record) => ({ ...record, holds: [...record.holds, id] }))));
      await state.close();
    } catch ({ code }) {
      const seen = { code, conditions: types(), holds: agent.record.holds.length };
      await state.close();
      console.log(JSON.stringify({ ...seen, after: types() }));
      process.exitCode = 3;
    }`;
  const args = ["--import", faultSteps, "--input-type=module", "-e", script, folder];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { env: { ...process.env, ...env } }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? undefined, signal: child.signalCode ?? undefined, stdout, stderr }),
    );
  });
}
