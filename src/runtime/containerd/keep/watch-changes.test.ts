import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { startEventProxy } from "../../../../test/support/event-proxy.ts";
import { waitUntil } from "../../../../test/support/processes.ts";
import type { ContainerdDaemon } from "../../../../test/support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import type { Scope } from "../../../../test/support/temporary.ts";
import { digestOf } from "../../../oci/image-documents.ts";
import type { ImageChange } from "../../image-keeper.ts";
import { openContainerd } from "../client/containerd-client.ts";
import { type WatchedNode, watchChanges } from "./watch-changes.ts";

/** A machine that is busy takes long for an event, too. */
const times = { proofIntervalMs: 300, proofTimeoutMs: 5000, pollIntervalMs: 200, firstRetryMs: 20, maxRetryMs: 100 };
const target = {
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: digestOf(Buffer.from("{}")),
  size: 2,
};

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  describe(`changes of images in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    before(async () => {
      daemon = await runtime.start(scope);
    });
    after(() => scope.disposeAsync());

    async function nodeAt(test: Scope, address: string, namespace: string): Promise<WatchedNode> {
      const client = openContainerd(address);
      test.defer(() => client.close());
      const of = client.withNamespace(namespace);
      const { version } = await client.version.get();
      return { client, in: of, namespace, version, snapshots: of.snapshots("overlayfs") };
    }

    test("Events swallowed by a proxy are made good", async () => {
      await using test = new AsyncDisposableStack();
      const namespace = `test-${randomUUID()}`;
      const proxy = await startEventProxy(test, daemon.address);
      const direct = await nodeAt(test, daemon.address, namespace);
      const watched = await nodeAt(test, proxy.address, namespace);
      const changes = reader(test, watched);
      assert.deepEqual(await changes(), { type: "listening" });
      await direct.in.images.create({ name: "example.com/seen:1", target });
      assert.deepEqual(await changes(), { type: "changed", name: "example.com/seen:1" });
      proxy.swallows = true;
      await direct.in.images.create({ name: "example.com/swallowed:1", target });
      const lost = await changes();
      assert.equal(lost.type, "lost");
      assert.match("message" in lost ? lost.message : "", /events do not arrive/);
      proxy.swallows = false;
      assert.deepEqual(await changes(), { type: "listening" });
      await direct.in.images.delete("example.com/seen:1");
      assert.deepEqual(await changes(), { type: "changed", name: "example.com/seen:1" });
    });

    test("what garbage collection takes away is told, and nothing of other namespaces", async () => {
      await using test = new AsyncDisposableStack();
      const namespace = `test-${randomUUID()}`;
      const node = await nodeAt(test, daemon.address, namespace);
      const lease = randomUUID();
      await node.in.leases.create(lease);
      const snapshots = node.in.withLease(lease).snapshotWriter("overlayfs");
      await snapshots.prepare("making");
      await snapshots.commit(target.digest, "making");
      let polls = 0;
      const list = node.snapshots.list.bind(node.snapshots);
      node.snapshots.list = async function* (...words) {
        yield* list(...words);
        polls++;
      };
      const changes = reader(test, node);
      assert.deepEqual(await changes(), { type: "listening" });
      const other = await nodeAt(test, daemon.address, `test-${randomUUID()}`);
      await other.in.images.create({ name: "example.com/other:1", target });
      await snapshots.prepare("a-container", { parent: target.digest });
      await snapshots.remove("a-container");
      const next = changes();
      // The poll of versions without events has seen it before.
      if (/\b1\.6\./.test(node.version)) await waitUntil("the snapshot was seen", async () => polls > 0);
      await node.in.leases.delete(lease, { sync: true });
      assert.deepEqual(await next, { type: "changed" });
      await assert.rejects(node.snapshots.stat(target.digest), { code: "not-found" });
    });
  });
}

/** The next change, within a minute. */
function reader(test: Scope, node: WatchedNode): () => Promise<ImageChange> {
  const end = new AbortController();
  test.defer(() => end.abort());
  const changes = watchChanges((work) => work(node), end.signal, times);
  return async () => {
    const timer = setTimeout(() => end.abort(), 60_000);
    const { value, done } = await changes.next();
    clearTimeout(timer);
    assert.ok(done !== true, "no change came");
    return value;
  };
}
