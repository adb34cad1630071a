import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { Digest } from "../../oci/descriptor.ts";
import { AgentError } from "../agent-error.ts";
import { type AgentRecord, type AgentState, emptyRecord } from "./agent-state.ts";
import { FolderState } from "./folder-state.ts";
import { MemoryNodeState, MemoryState } from "./memory-state.ts";
import { RuntimeState } from "./runtime-state.ts";

/** An agent's state that the next agent opens again. */
type Setting = { readonly open: () => Promise<Opened> };

type Opened = { readonly state: AgentState; readonly close: () => Promise<void> };

const digest: Digest = `sha256:${"a".repeat(64)}`;
const id = "b".repeat(64);
const runtime = "containerd /run/containerd/containerd.sock k8s.io";
const full: AgentRecord = {
  tags: { "example.com/app:v1": { digest, atSeconds: 0 } },
  holds: [id],
  byHand: { [id]: { path: "/disk" }, ["c".repeat(64)]: { path: "/part", images: ["example.com/app:v1"] } },
  seenDisks: {
    [id]: [{ path: "/disk", device: "8:1", inode: "18446744073709551615", sizeBytes: 4096, ctimeNs: "0" }],
  },
  seededDisks: { [id]: { path: "/disk", sizeBytes: 4096 } },
  evicted: { [digest]: { atSeconds: 1 } },
};

function conformance(name: string, makeSetting: (scope: Scope) => Promise<Setting>): void {
  describe(`${name} keeps the contract of states`, () => {
    test("begins empty, and holds what it is changed to", async () => {
      await using scope = new AsyncDisposableStack();
      const { open } = await makeSetting(scope);
      const { state, close } = await open();
      assert.deepEqual(state.record, emptyRecord);
      await state.change(() => full);
      assert.deepEqual(state.record, full);
      assert.deepEqual(state.conditions, []);
      await close();
      const { state: next, close: closeNext } = await open();
      scope.defer(closeNext);
      assert.deepEqual(next.record, full);
      assert.deepEqual(next.conditions, []);
    });

    test("a change shows in memory at once, and each sees those before it", async () => {
      await using scope = new AsyncDisposableStack();
      const { open } = await makeSetting(scope);
      const { state, close } = await open();
      const ids = Array.from({ length: 50 }, (_, number) => `${number}`.padStart(64, "0"));
      const changes = ids.map((each) => state.change((record) => ({ ...record, holds: [...record.holds, each] })));
      assert.deepEqual(state.record.holds, ids);
      await Promise.all(changes);
      await close();
      const { state: next, close: closeNext } = await open();
      scope.defer(closeNext);
      assert.deepEqual(next.record.holds, ids);
    });

    test("an edit that throws changes nothing", async () => {
      await using scope = new AsyncDisposableStack();
      const { state, close } = await (await makeSetting(scope)).open();
      scope.defer(close);
      await assert.rejects(
        state.change(() => {
          throw new RangeError("no");
        }),
        RangeError,
      );
      assert.deepEqual(state.record, emptyRecord);
      await state.change((record) => ({ ...record, holds: [id] }));
      assert.deepEqual(state.record.holds, [id]);
    });

    test("closing waits for what is being written, and may be done twice", async () => {
      await using scope = new AsyncDisposableStack();
      const { open } = await makeSetting(scope);
      const { state, close } = await open();
      const changed = state.change((record) => ({ ...record, holds: [id] }));
      await close();
      await close();
      await changed;
      const { state: next, close: closeNext } = await open();
      scope.defer(closeNext);
      assert.deepEqual(next.record.holds, [id]);
    });
  });
}

const none = async () => {};

conformance("MemoryState", async () => {
  let before: MemoryState | undefined;
  return {
    open: async () => {
      before = new MemoryState(before?.durable);
      return { state: before, close: none };
    },
  };
});

conformance("RuntimeState of a MemoryNodeState", async () => {
  let before: MemoryNodeState | undefined;
  return {
    open: async () => {
      before = new MemoryNodeState(before?.durable);
      return { state: new RuntimeState(before, runtime), close: none };
    },
  };
});

conformance("RuntimeState of a FolderState", async (scope) => {
  const folder = join(await temporaryDirectory(scope, "state"), "var/state");
  return {
    open: async () => {
      const node = await FolderState.open(folder, { signal: new AbortController().signal });
      return { state: new RuntimeState(node, runtime), close: () => node.close() };
    },
  };
});

test("agents of two runtimes share what is known of disks, and nothing else", async () => {
  const node = new MemoryNodeState();
  const [first, second] = [new RuntimeState(node, runtime), new RuntimeState(node, "docker-graph /run/docker.sock")];
  await first.change(() => full);
  const { seenDisks, seededDisks } = full;
  assert.deepEqual(second.record, { ...emptyRecord, seenDisks, seededDisks });
  await second.change((record) => ({ ...record, holds: ["d".repeat(64)], seenDisks: {} }));
  assert.deepEqual(first.record, { ...full, seenDisks: {} });
});

test("MemoryState fails when told to, and keeps the change in memory", async () => {
  const state = new MemoryState();
  state.fail(new AgentError("no-space", "full"));
  await assert.rejects(
    state.change(() => full),
    (error: unknown) => error instanceof AgentError && error.code === "no-space",
  );
  assert.deepEqual([state.record, state.durable], [full, emptyRecord]);
  assert.equal(state.conditions[0]?.type, "StateNotDurable");
  state.fail(undefined);
  assert.deepEqual(state.durable, full);
});
