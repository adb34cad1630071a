import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../../../../test/support/processes.ts";
import type { ContainerdDaemon } from "../../../../test/support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { type ContainerdClient, type NamespaceClient, openContainerd } from "./containerd-client.ts";
import type { NewBlob } from "./content-writer.ts";

/** Every service against every containerd that the tests run. */

type Blob = NewBlob & { readonly data: Buffer };

function blobOf(data: Buffer): Blob {
  const digest: Digest = `sha256:${createHash("sha256").update(data).digest("hex")}`;
  return { digest, sizeBytes: data.length, data };
}

const randomBlob = (sizeBytes: number): Blob => blobOf(randomBytes(sizeBytes));

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await collect(pieces));
}

for (const runtime of await containerdRuntimes()) {
  describe(runtime.name, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let client: ContainerdClient;
    let namespaces = 0;

    /** Its number keeps the tests apart. */
    const freshNamespace = (): NamespaceClient => client.withNamespace(`test-${++namespaces}`);

    before(async () => {
      daemon = await runtime.start(scope);
      client = openContainerd(daemon.endpoint);
      scope.defer(async () => client.close());
    });
    after(() => scope.disposeAsync());

    test("version and introspection", async () => {
      assert.ok((await client.version.get()).version.includes(runtime.version));
      const server = await client.introspection.server();
      assert.match(server.uuid, /^[0-9a-f-]{36}$/);
      assert.ok(server.pid === daemon.pid || server.pid === 0);
      const filter = "type==io.containerd.snapshotter.v1,id==overlayfs";
      const [overlayfs, ...others] = await client.introspection.plugins([filter]);
      assert.deepEqual(others, []);
      assert.equal(overlayfs?.failure, undefined);
      assert.equal(overlayfs?.exports.root, join(daemon.root, "io.containerd.snapshotter.v1.overlayfs"));
      const plugins = await client.introspection.plugins();
      const failed = plugins.find(({ id }) => id === "devmapper" || id === "zfs");
      assert.ok(failed === undefined || (failed.failure ?? "").length > 0);
    });

    test("namespaces", async () => {
      await client.namespaces.create("made", { color: "blue" });
      await assert.rejects(client.namespaces.create("made"), { code: "already-exists" });
      const made = (await client.namespaces.list()).find(({ name }) => name === "made");
      assert.deepEqual(made?.labels, { color: "blue" });
      await client.namespaces.delete("made");
      await assert.rejects(client.namespaces.delete("made"), { code: "not-found" });
      await assert.rejects(client.withNamespace("not a name").images.list(), { code: "invalid-argument" });
    });

    test("leases hold what is made through them until they are deleted", async () => {
      const namespace = freshNamespace();
      const begin = Date.now();
      const lease = await namespace.leases.create("held", { "test/owner": "us" });
      assert.deepEqual([lease.id, lease.labels], ["held", { "test/owner": "us" }]);
      assert.ok(Math.abs((lease.createdAt?.getTime() ?? 0) - begin) < 10_000);
      await assert.rejects(namespace.leases.create("held"), { code: "already-exists" });
      await namespace.leases.create("other");
      const found = await namespace.leases.list(['labels."test/owner"==us']);
      assert.deepEqual(found, [lease]);

      const held = randomBlob(100);
      await namespace.withLease("held").contentWriter.write(held, held.data);
      await namespace.withLease("held").snapshotWriter("overlayfs").prepare("held-key");
      await namespace.leaseResources.add("held", { id: "later", type: "snapshots/overlayfs" });
      const resources = await namespace.leaseResources.list("held");
      assert.deepEqual(resources.map(({ type, id }) => `${type} ${id}`).sort(), [
        `content ${held.digest}`,
        "snapshots/overlayfs held-key",
        "snapshots/overlayfs later",
      ]);
      await namespace.leases.delete("other", { sync: true });
      await namespace.content.info(held.digest);
      await namespace.leases.delete("held", { sync: true });
      await assert.rejects(namespace.content.info(held.digest), { code: "not-found" });
      await assert.rejects(namespace.snapshots("overlayfs").stat("held-key"), { code: "not-found" });
      await assert.rejects(namespace.leases.delete("held"), { code: "not-found" });
      await assert.rejects(namespace.leaseResources.list("held"), { code: "not-found" });
    });

    test("content is written, read, labelled, listed and deleted", async () => {
      const namespace = freshNamespace();
      await namespace.leases.create("hold");
      const { contentWriter, content, contentManager, ingests } = namespace.withLease("hold");
      for (const blob of [
        randomBlob(1),
        randomBlob(1 << 20),
        randomBlob((5 << 20) + 7),
        blobOf(Buffer.from(digestNote)),
      ]) {
        const labels = { "containerd.io/gc.ref.content.0": blob.digest };
        assert.equal(await contentWriter.write({ ...blob, labels }, blob.data), "written");
        assert.equal(await contentWriter.write({ ...blob, labels: { other: "yes" } }, blob.data), "present");
        const info = await content.info(blob.digest);
        assert.deepEqual([info.digest, info.sizeBytes, info.labels], [blob.digest, blob.sizeBytes, labels]);
        assert.ok((await bytesOf(content.read(blob.digest))).equals(blob.data));
      }
      const blob = randomBlob(100_000);
      await contentWriter.write({ ...blob, labels: { keep: "1", drop: "2", "containerd.io/gc.root": "x" } }, blob.data);
      const part = await bytesOf(content.read(blob.digest, { offset: 70_000, length: 1234 }));
      assert.ok(part.equals(blob.data.subarray(70_000, 71_234)));
      const changed = await contentManager.updateLabels(blob.digest, { drop: undefined, "new.io/label": "a=b" });
      assert.deepEqual(changed.labels, { keep: "1", "containerd.io/gc.root": "x", "new.io/label": "a=b" });
      assert.equal((await collect(content.list())).length, 5);
      assert.deepEqual(
        (await collect(content.list(['labels."new.io/label"']))).map(({ digest }) => digest),
        [blob.digest],
      );
      await contentManager.delete(blob.digest);
      await assert.rejects(contentManager.delete(blob.digest), { code: "not-found" });
      await assert.rejects(bytesOf(content.read(blob.digest)), { code: "not-found" });
      assert.deepEqual(await ingests.list(), []);
    });

    test("wrong bytes are refused and leave nothing", async () => {
      const { contentWriter, content, ingests } = freshNamespace();
      const blob = randomBlob(1000);
      const wrong = Buffer.from(blob.data).reverse();
      await assert.rejects(contentWriter.write(blob, wrong), { code: "failed-precondition", message: /unexpected/ });
      await assert.rejects(contentWriter.write(blob, wrong.subarray(1)), { code: "failed-precondition" });
      await assert.rejects(content.info(blob.digest), { code: "not-found" });
      assert.deepEqual(await ingests.list(), []);
      await contentWriter.write(blob, blob.data);
    });

    test("an interrupted blob is continued, or aborted", async () => {
      const { contentWriter, content, ingests } = freshNamespace();
      // Else it is garbage as soon as it is there, and other tests have garbage collected.
      const labels = { slow: "yes", "containerd.io/gc.root": "yes" };
      const blob = { ...randomBlob(3 << 20), ref: "slow", labels };
      const begun = await contentWriter.open(blob);
      assert.equal(begun?.offset, 0);
      await begun?.write(blob.data.subarray(0, 1_500_000));
      await assert.rejects(contentWriter.open(blob), { code: "unavailable" }, "one writer at a time");
      await begun?.close();
      assert.deepEqual(await ingests.status("slow"), { ref: "slow", offset: 1_500_000, total: blob.sizeBytes });
      const continued = await contentWriter.open(blob);
      assert.equal(continued?.offset, 1_500_000);
      await continued?.write(blob.data.subarray(1_500_000));
      assert.equal(await continued?.commit(), "written");
      await continued?.close();
      assert.deepEqual((await content.info(blob.digest)).labels, labels);
      assert.equal(await contentWriter.open(blob), undefined);

      const given = await contentWriter.open({ ...randomBlob(1000), ref: "given-up" });
      await given?.write(randomBytes(10));
      await given?.close();
      await ingests.abort("given-up");
      await assert.rejects(ingests.status("given-up"), { code: "not-found" });
    });

    test("a blob whose file lies in the store is claimed, without its bytes being read", async () => {
      const { contentWriter, content, ingests } = freshNamespace();
      const [plugin] = await client.introspection.plugins(["type==io.containerd.content.v1"]);
      const blob = { ...randomBlob(10_000), labels: { claimed: "yes", "containerd.io/gc.root": "test" } };
      await assert.rejects(contentWriter.claim(blob), {
        code: "failed-precondition",
        message: /content_sharing_policy/,
      });
      assert.deepEqual(await ingests.list(), []);
      const elsewhere = join(daemon.directory, "elsewhere");
      await writeFile(elsewhere, blob.data);
      const link = join(plugin?.exports.root ?? "", "blobs/sha256", digestHex(blob.digest));
      await mkdir(dirname(link), { recursive: true });
      const claim = async () => {
        await symlink(elsewhere, link);
        return contentWriter.claim(blob);
      };
      // A collection that is under way may take the file, which no record names yet.
      const first = await claim().catch((error) => (existsSync(link) ? Promise.reject(error) : claim()));
      assert.equal(first, "written");
      assert.equal(await contentWriter.claim(blob), "present");
      assert.ok((await lstat(link)).isSymbolicLink());
      const { sizeBytes, labels } = await content.info(blob.digest);
      assert.deepEqual([sizeBytes, labels], [blob.sizeBytes, blob.labels]);
      assert.ok((await bytesOf(content.read(blob.digest))).equals(blob.data));
      const second = freshNamespace();
      assert.equal(await second.contentWriter.write(blob, blob.data), "written");
      assert.ok((await lstat(link)).isSymbolicLink());
    });

    test("snapshots are prepared, committed, labelled, listed and removed", async () => {
      const namespace = freshNamespace();
      const reader = namespace.snapshots("overlayfs");
      const writer = namespace.snapshotWriter("overlayfs");
      const root = { "containerd.io/gc.root": "test" };
      const [bottom] = await writer.prepare("bottom-key", { labels: { ...root, "test/a": "1" } });
      assert.equal(bottom?.type, "bind");
      assert.ok(bottom?.options.includes("rw"));
      assert.ok(existsSync(bottom?.source ?? ""));
      await assert.rejects(writer.prepare("bottom-key"), { code: "already-exists" });
      await writeFile(join(bottom?.source ?? "", "file"), "x".repeat(10_000));
      assert.deepEqual(await reader.mounts("bottom-key"), [bottom]);
      await writer.commit("bottom", "bottom-key", { ...root, "test/b": "2" });
      await assert.rejects(reader.stat("bottom-key"), { code: "not-found" });
      const stat = await reader.stat("bottom");
      assert.deepEqual([stat.name, stat.parent, stat.kind], ["bottom", "", "committed"]);
      assert.equal(stat.labels["test/b"], "2");
      const usage = await reader.usage("bottom");
      assert.ok(usage.sizeBytes >= 10_000 && usage.inodes >= 2, JSON.stringify(usage));

      const [top] = await writer.prepare("top-key", { parent: "bottom", labels: root });
      assert.equal(top?.type, "overlay");
      assert.ok(top?.options.some((option) => option.startsWith("upperdir=")));
      assert.equal((await reader.stat("top-key")).kind, "active");
      await assert.rejects(writer.commit("bottom", "top-key"), { code: "already-exists" });
      await assert.rejects(writer.prepare("orphan", { parent: "none" }), { code: "not-found" });
      await assert.rejects(writer.remove("bottom"), { code: "failed-precondition" });
      const children = await collect(reader.list(["parent==bottom"]));
      assert.deepEqual(
        children.map(({ name, parent }) => [name, parent]),
        [["top-key", "bottom"]],
      );
      const changed = await writer.updateLabels("bottom", { "test/b": undefined, "test/c": "3" });
      assert.deepEqual([changed.labels["test/b"], changed.labels["test/c"]], [undefined, "3"]);
      assert.equal(changed.labels["containerd.io/gc.root"], "test");
      await writer.remove("top-key");
      await writer.remove("bottom");
      assert.deepEqual(await collect(reader.list()), []);
      await assert.rejects(writer.remove("bottom"), { code: "not-found" });
      await assert.rejects(namespace.snapshots("none").stat("x"), { code: "invalid-argument" });
    });

    test("images are created, updated by field, listed and deleted", async () => {
      const namespace = freshNamespace();
      const { images } = namespace;
      const target = { mediaType: "application/vnd.oci.image.index.v1+json", digest: randomBlob(9).digest, size: 9 };
      const begin = Date.now();
      const image = await images.create({ name: "a.test/a:1", target, labels: { one: "1", two: "2" } });
      assert.deepEqual([image.name, image.target, image.labels], ["a.test/a:1", target, { one: "1", two: "2" }]);
      assert.ok(Math.abs((image.createdAt?.getTime() ?? 0) - begin) < 10_000);
      await assert.rejects(images.create({ name: "a.test/a:1", target }), { code: "already-exists" });
      const { labels } = await images.update("a.test/a:1", { labels: { one: undefined, "x.io/three": "3" } });
      assert.deepEqual(labels, { two: "2", "x.io/three": "3" });
      const newer = { ...target, digest: randomBlob(9).digest, annotations: { "org.test/key": "value" } };
      const moved = await images.update("a.test/a:1", { target: newer });
      assert.deepEqual([moved.target, moved.labels], [newer, labels]);
      assert.deepEqual((await images.update("a.test/a:1", {})).target, newer);
      assert.deepEqual(await images.get("a.test/a:1"), moved);
      await images.create({ name: "b.test/b:1", target });
      assert.deepEqual((await images.list()).map(({ name }) => name).sort(), ["a.test/a:1", "b.test/b:1"]);
      assert.deepEqual(
        (await images.list(["name==b.test/b:1"])).map(({ name }) => name),
        ["b.test/b:1"],
      );
      await images.delete("a.test/a:1", { sync: true });
      await assert.rejects(images.get("a.test/a:1"), { code: "not-found" });
      await assert.rejects(images.update("a.test/a:1", { target }), { code: "not-found" });
      await assert.rejects(images.delete("a.test/a:1"), { code: "not-found" });
    });

    test("containers say which image and snapshot they hold", async () => {
      const { probe } = await daemon.importRuntimeImages("held");
      await daemon.ctr("-n", "held", "containers", "create", "--snapshotter", "overlayfs", probeName, "holder");
      const namespace = client.withNamespace("held");
      const [container, ...others] = await namespace.containers.list();
      assert.deepEqual(others, []);
      assert.deepEqual([container?.id, container?.image, container?.snapshotter], ["holder", probeName, "overlayfs"]);
      const snapshot = await namespace.snapshots("overlayfs").stat(container?.snapshotKey ?? "");
      assert.equal(snapshot.kind, "active");
      assert.equal((await namespace.images.get(probeName)).target.digest, probe.manifest.digest);
    });

    test("events of images arrive with their names", async () => {
      const { images } = client.withNamespace("events");
      const controller = new AbortController();
      const events = client.events.subscribe(['topic~="/images/"'], { signal: controller.signal });
      const next = events.next();
      const target = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: randomBlob(9).digest, size: 9 };
      // Nothing says when the subscription stands: make events until one comes.
      let count = 0;
      let first: Awaited<typeof next> | undefined;
      void next.then((event) => {
        first = event;
      });
      await waitUntil("an event comes", async () => {
        await images.create({ name: `event.test/image:${count++}`, target });
        return first !== undefined;
      });
      const { value } = await next;
      assert.deepEqual([value?.namespace, value?.topic], ["events", "/images/create"]);
      assert.match(value?.subject ?? "", /^event\.test\/image:\d+$/);
      assert.ok(value?.time instanceof Date);
      controller.abort();
      await assert.rejects(events.next(), { name: "AbortError" });
    });

    test("after containerd was killed calls fail clearly, and go through once it is back", async () => {
      const { images } = client.withNamespace("events");
      const ended = assert.rejects(client.events.subscribe().next(), { code: "unavailable" });
      await client.version.get(); // over the same connection: the subscription has arrived
      await daemon.kill();
      await ended;
      await assert.rejects(images.list(), { code: "unavailable", message: new RegExp(daemon.address) });
      await daemon.start();
      assert.ok((await images.list()).length > 0);
      await daemon.restart();
      assert.ok((await images.list()).length > 0);
    });
  });
}

const probeName = "nodewarm.test/probe:1";
const digestNote = "the same blob in every version";
