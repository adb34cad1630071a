import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { Digest } from "../../oci/descriptor.ts";
import { AgentError } from "../agent-error.ts";
import { type AgentRecord, type AgentState, emptyRecord } from "./agent-state.ts";
import { FolderState } from "./folder-state.ts";
import { MemoryState } from "./memory-state.ts";

/** An agent's state that the next agent opens again. */
type Setting = { readonly open: () => Promise<AgentState> };

const digest: Digest = `sha256:${"a".repeat(64)}`;
const id = "b".repeat(64);
const full: AgentRecord = {
  tags: { "example.com/app:v1": { digest, atSeconds: 0 } },
  holds: [id],
  byHand: { [id]: { path: "/disk" }, ["c".repeat(64)]: { path: "/part", images: ["example.com/app:v1"] } },
  seenDisks: {
    [id]: [{ path: "/disk", device: "8:1", inode: "18446744073709551615", sizeBytes: 4096, ctimeNs: "0" }],
  },
  seededDisks: { [id]: { path: "/disk", sizeBytes: 4096 } },
};

function conformance(name: string, makeSetting: (scope: Scope) => Promise<Setting>): void {
  describe(`${name} keeps the contract of states`, () => {
    test("begins empty, and holds what it is changed to", async () => {
      await using scope = new AsyncDisposableStack();
      const { open } = await makeSetting(scope);
      const state = await open();
      assert.deepEqual(state.record, emptyRecord);
      await state.change(() => full);
      assert.deepEqual(state.record, full);
      assert.deepEqual(state.conditions, []);
      await state.close();
      const next = await open();
      scope.defer(() => next.close());
      assert.deepEqual(next.record, full);
      assert.deepEqual(next.conditions, []);
    });

    test("a change shows in memory at once, and each sees those before it", async () => {
      await using scope = new AsyncDisposableStack();
      const { open } = await makeSetting(scope);
      const state = await open();
      const ids = Array.from({ length: 50 }, (_, number) => `${number}`.padStart(64, "0"));
      const changes = ids.map((each) => state.change((record) => ({ ...record, holds: [...record.holds, each] })));
      assert.deepEqual(state.record.holds, ids);
      await Promise.all(changes);
      await state.close();
      const next = await open();
      scope.defer(() => next.close());
      assert.deepEqual(next.record.holds, ids);
    });

    test("an edit that throws changes nothing", async () => {
      await using scope = new AsyncDisposableStack();
      const state = await (await makeSetting(scope)).open();
      scope.defer(() => state.close());
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
      const state = await open();
      const changed = state.change((record) => ({ ...record, holds: [id] }));
      await state.close();
      await state.close();
      await changed;
      const next = await open();
      scope.defer(() => next.close());
      assert.deepEqual(next.record.holds, [id]);
    });
  });
}

conformance("MemoryState", async () => {
  let before: MemoryState | undefined;
  return {
    open: async () => {
      before = new MemoryState(before?.durable);
      return before;
    },
  };
});

conformance("FolderState", async (scope) => {
  const folder = join(await temporaryDirectory(scope, "state"), "var/state");
  return { open: () => FolderState.open(folder, { signal: new AbortController().signal }) };
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
