import assert from "node:assert/strict";
import { test } from "node:test";
import { ReopenedNode } from "./reopened-node.ts";
import { RuntimeError } from "./runtime-error.ts";

class Node {
  readonly pid: number;
  isClosed = false;

  constructor(pid: number) {
    this.pid = pid;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

const unavailable = () => Promise.reject(new RuntimeError("unavailable", "it is restarting"));

test("after a failure the daemon that runs now is opened, and the one before closed when nobody works with it", async () => {
  const [before, now] = [new Node(1), new Node(2)];
  const reopened = new ReopenedNode(before, async () => now);
  let finish = () => {};
  const working = reopened.use(async (node) => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return node.pid;
  });
  await assert.rejects(reopened.use(unavailable), { code: "unavailable" });
  assert.equal(await reopened.use(async ({ pid }) => pid), 2);
  assert.equal(reopened.last, now);
  assert.equal(before.isClosed, false);
  finish();
  assert.equal(await working, 1);
  assert.equal(before.isClosed, true);
  await reopened.close();
  assert.equal(now.isClosed, true);
  await assert.rejects(
    reopened.use(async () => {}),
    { code: "cancelled" },
  );
});

test("the same daemon is not opened again, and one that is away is tried again", async () => {
  const node = new Node(1);
  const answers = [() => unavailable(), async () => undefined, () => assert.fail("asked once more")];
  const reopened = new ReopenedNode<Node>(node, () => (answers.shift() ?? assert.fail)());
  reopened.suspect();
  await assert.rejects(
    reopened.use(async () => {}),
    { code: "unavailable" },
  );
  assert.equal(await reopened.use(async ({ pid }) => pid), 1);
  assert.equal(await reopened.use(async ({ pid }) => pid), 1);
  assert.equal(node.isClosed, false);
});
