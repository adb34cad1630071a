import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { open, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { FaultRegistry } from "../../../../test/support/fault-registry.ts";
import { addLayer, type MadeImage, makeImage, sha256 } from "../../../../test/support/image-maker.ts";
import { run } from "../../../../test/support/processes.ts";
import { outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import { blobsAsked, fetchFrom, resolveFrom, startImageRegistry } from "../../../../test/support/runtimes/fetching.ts";
import { openTestNode, platform } from "../../../../test/support/runtimes/injection.ts";
import { addNote, collectGarbage } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { file, tar } from "../../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { digestHex } from "../../../oci/descriptor.ts";
import { openCri } from "../client/cri/cri-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { fetchImage } from "./fetch-image.ts";
import { openSpool } from "./spool.ts";

/** Fetches that registries, collections, other programs and full disks get in the way of. */

const bigBytes = 40 << 20;

for (const runtime of await outermostRuntimes()) {
  describe(`fetching into ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let registry: FaultRegistry;
    let layout: string;
    let small: MadeImage;
    let sibling: MadeImage;
    let big: MadeImage;
    let huge: MadeImage;

    before(async () => {
      layout = await temporaryDirectory(scope, "layout");
      const [one, two, three, four] = await Promise.all(["one", "two", "three", "four"].map((n) => addNote(layout, n)));
      assert.ok(one && two && three && four);
      const random = await addLayer(layout, { tar: tar(file("random", randomBytes(bigBytes))), compression: "none" });
      const zeros = await addLayer(layout, { tar: tar(file("zeros", Buffer.alloc(80 << 20))) });
      const make = (layers: MadeImage["layers"]) => makeImage(layout, { layers, platform });
      small = await make([one, two, three]);
      sibling = await make([one, two, four]);
      big = await make([one, random]);
      huge = await make([one, zeros]);
      registry = await startImageRegistry(scope, layout, {
        small: small.manifest,
        sibling: sibling.manifest,
        big: big.manifest,
        huge: huge.manifest,
      });
    });
    after(() => scope.disposeAsync());

    const layerPath = (image: MadeImage, index: number) =>
      new RegExp(`blobs/${image.layers[index]?.descriptor.digest}`);
    const startNode = async (inner: AsyncDisposableStack) => {
      const daemon = await runtime.start(inner);
      return { daemon, node: await openTestNode(inner, daemon) };
    };

    test("makes good what a collection takes between link and claim", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      let taken = 0;
      await fetchFrom(node, registry, "small", {}, async (step) => {
        if (step !== "claim" || taken > 1) return;
        const before = await blobNames(node);
        // Unless a blob was deleted, containerd does not look at the files of blobs.
        const bytes = randomBytes(10);
        await node.in.contentWriter.write({ digest: sha256(bytes), sizeBytes: bytes.length }, bytes);
        await node.in.contentManager.delete(sha256(bytes)).catch(() => {});
        await collectGarbage(node);
        if ((await blobNames(node)).length < before.length) taken++;
      });
      assert.ok(taken > 0, "the collection took a link");
      await assertWhole(node, small);
    });

    test("takes the blobs of a pull that comes first", async () => {
      await using inner = new AsyncDisposableStack();
      const { daemon, node } = await startNode(inner);
      using cri = openCri(daemon.address);
      let inodes = new Map<string, number>();
      let hasPulled = false;
      await fetchFrom(node, registry, "small", {}, async (step) => {
        if (step !== "link" || hasPulled) return;
        hasPulled = true;
        await cri.images.pull(`${registry.host}/team/small:v1`);
        inodes = await blobInodes(node);
      });
      assert.deepEqual(await blobInodes(node), inodes, "no blob was replaced");
      await assertWhole(node, small);
    });

    test("fetches a layer that two images share once", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      blobsAsked(registry);
      const reports = await Promise.all(["small", "sibling", "small"].map((name) => fetchFrom(node, registry, name)));
      const layers = new Set([...small.layers, ...sibling.layers].map(({ descriptor }) => descriptor.digest as string));
      assert.deepEqual(
        blobsAsked(registry).filter((digest) => layers.has(digest)),
        [...layers].sort(),
      );
      assert.equal(
        reports.reduce((sum, { fetchedLayers }) => sum + fetchedLayers, 0),
        layers.size,
      );
      await assertWhole(node, small);
      await assertWhole(node, sibling);
    });

    test("goes on where a fetch that was killed left off, however far it had come", async () => {
      await using inner = new AsyncDisposableStack();
      const { daemon, node } = await startNode(inner);
      await fetchFrom(node, registry, "small");
      const expected = await listNode(node);
      const die = (...args: string[]) =>
        run(process.execPath, [`${import.meta.dirname}/../../../../test/support/runtimes/fetch-and-die.ts`, ...args]);
      // Even steps with one version, odd ones with the other.
      for (let step = runtime.version.startsWith("2.") ? 1 : 0; ; step += 2) {
        for (const { name } of await node.in.images.list()) await node.in.images.delete(name, { sync: true });
        await collectGarbage(node);
        const whole = await die(daemon.address, registry.host, "small", "step", String(step)).catch(() => undefined);
        if (whole !== undefined) {
          assert.ok(step > 20, `there are only ${whole} steps`);
          break;
        }
        assert.ok(step < 200, "it ends at last");
        await fetchFrom(node, registry, "small");
        const { snapshotPaths: _, ...listing } = await listNode(node);
        const { snapshotPaths: __, ...wanted } = expected;
        assert.deepEqual(listing, wanted, `killed at step ${step}`);
        assert.deepEqual(await readdir(await openSpool(node)), [], `killed at step ${step}`);
      }
    });

    test("transfers only the rest after a restart", async () => {
      await using inner = new AsyncDisposableStack();
      const { daemon, node } = await startNode(inner);
      const program = `${import.meta.dirname}/../../../../test/support/runtimes/fetch-and-die.ts`;
      const args = [daemon.address, registry.host, "big", "bytes", String(28 << 20)];
      await assert.rejects(run(process.execPath, [program, ...args]));
      registry.requests.splice(0);
      let present = 0;
      const report = await fetchFrom(node, registry, "big", {
        onProgress: ({ presentBytes }) => {
          present = presentBytes;
        },
      });
      const total = big.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
      assert.equal(report.fetchedBytes + present, total);
      assert.ok(report.fetchedBytes < total - (8 << 20), `${report.fetchedBytes} bytes came again`);
      const asked = registry.requests.flatMap(({ path, headers: { range } }) => {
        const layer = big.layers.find(({ descriptor }) => path.endsWith(`/blobs/${descriptor.digest}`));
        const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(String(range)) ?? [];
        if (layer === undefined) return [];
        return last === undefined ? [layer.descriptor.size] : [Number(last) - Number(first) + 1];
      });
      assert.equal(
        asked.reduce((sum, bytes) => sum + bytes, 0),
        report.fetchedBytes,
      );
      await assertWhole(node, big);
    });

    test("stops promptly, keeps what came, and fetches it anew when it is wrong", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      const stop = new AbortController();
      const admitted: number[] = [];
      const admit = async (bytes: number) => {
        admitted.push(bytes);
        if (admitted.length === 6) stop.abort(new Error("enough"));
        if (admitted.length > 5) await new Promise(() => {});
      };
      await assert.rejects(fetchFrom(node, registry, "big", { admit, signal: stop.signal }), { message: "enough" });
      assert.ok(admitted.every((bytes) => bytes <= 4 << 20));
      const path = `${await openSpool(node)}/${digestHex(big.layers[1]?.descriptor.digest ?? "sha256:")}`;
      const kept = await open(path, "r+");
      assert.ok((await kept.stat()).size > 4 << 20);
      await kept.write(Buffer.alloc(4096, 1), 0, 4096, 0);
      await kept.close();
      await fetchFrom(node, registry, "big");
      await assertWhole(node, big);
    });

    test("ends with the error of whoever admits", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      const admit = async () => {
        throw new Error("no more today");
      };
      await assert.rejects(fetchFrom(node, registry, "big", { admit }), { message: "no more today" });
    });

    test("survives cuts, stalls and servers without ranges", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      registry.fault(layerPath(big, 1), { kind: "cut", afterBytes: 3 << 20 });
      registry.fault(layerPath(big, 1), { kind: "stall", afterBytes: 1 << 20 });
      await fetchFrom(node, registry, "big");
      await assertWhole(node, big);
      for (const { name } of await node.in.images.list()) await node.in.images.delete(name, { sync: true });
      await collectGarbage(node);
      registry.fault(layerPath(big, 1), { kind: "ignore-range" }, 3);
      await fetchFrom(node, registry, "big");
      await assertWhole(node, big);
    });

    test("refuses wrong bytes and wrong lengths, and keeps nothing of them", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      const wrong = [
        [{ kind: "wrong-bytes" }, "digest-mismatch"],
        [{ kind: "resized", byBytes: -5, withLength: true }, "size-mismatch"],
        [{ kind: "resized", byBytes: 5, withLength: false }, "size-mismatch"],
      ] as const;
      for (const [fault, code] of wrong) {
        registry.fault(layerPath(small, 2), fault);
        await assert.rejects(fetchFrom(node, registry, "small"), { code });
        const left = await readdir(await openSpool(node));
        assert.ok(!left.some((name) => name.startsWith(digestHex(small.layers[2]?.descriptor.digest ?? "sha256:"))));
        assert.deepEqual(await node.in.images.list(), []);
      }
      await fetchFrom(node, registry, "small");
      await assertWhole(node, small);
    });

    test("puts documents back whose files are gone or cut short, which containerd would not", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      await fetchFrom(node, registry, "small");
      const files = [small.manifest, small.config].map(({ digest }) =>
        node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`),
      );
      const [manifest = "", config = ""] = files;
      await rm(manifest);
      await truncate(config, 5);
      assert.equal((await fetchFrom(node, registry, "small")).result, "fetched");
      for (const [i, { digest }] of [small.manifest, small.config].entries())
        assert.equal(sha256(await readFile(files[i] ?? "")), digest);
      assert.equal((await stat(manifest)).mode & 0o777, 0o444);
      assert.deepEqual(await readdir(await openSpool(node)), []);
      assert.equal((await fetchFrom(node, registry, "small")).result, "present");
      await assertWhole(node, small);
    });

    test("says that the disk is full, and leaves nothing", async () => {
      await using inner = new AsyncDisposableStack();
      const daemon = await runtime.start(inner);
      await daemon.stop();
      await run("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", daemon.root]);
      inner.defer(async () => {
        await daemon.stop();
        await run("umount", ["-R", "-l", daemon.root]);
      });
      await daemon.start();
      const node = await openTestNode(inner, daemon);
      // One that the snapshotter begins on a full disk stays cut short.
      const databaseBytes: number[] = [];
      const atStep = async (step: string) => {
        if (step !== "fetch") return;
        databaseBytes.push((await stat(node.local(`${dirname(node.snapshotsFolder)}/metadata.db`))).size);
      };
      // `big` does not fit into the spool, `huge` not unpacked.
      for (const name of ["big", "huge"]) {
        await assert.rejects(fetchFrom(node, registry, name, {}, atStep), (error: Error & { code?: string }) => {
          assert.equal(error.code, "resource-exhausted", error.message);
          assert.match(error.message, /^there is no space left for 127\.0\.0\.1:\d+\/team\/\w+@sha256:\w+ in /);
          return true;
        });
        const { images, leases, content, snapshots } = await listNode(node);
        assert.deepEqual(
          { images, leases, content, snapshots },
          { images: [], leases: [], content: [], snapshots: [] },
        );
        assert.deepEqual(await readdir(await openSpool(node)), []);
      }
      assert.ok(databaseBytes.length > 1 && databaseBytes.every((bytes) => bytes >= 4 * 4096), `${databaseBytes}`);
      await fetchFrom(node, registry, "small");
      await assertWhole(node, small);
    });

    test("refuses a layer that unpacks to something else", async () => {
      await using inner = new AsyncDisposableStack();
      const { node } = await startNode(inner);
      await using connections = new AsyncDisposableStack();
      const { image, repository } = await resolveFrom(connections, registry, "small");
      const [first, ...others] = image.layers;
      assert.ok(first);
      const layers = [{ ...first, diffID: `sha256:${"0".repeat(64)}` as const }, ...others];
      const { signal } = new AbortController();
      await assert.rejects(fetchImage(node, { ...image, layers }, repository, { signal }), { code: "digest-mismatch" });
      assert.deepEqual(await Array.fromAsync(node.snapshots.list()), []);
    });
  });
}

/** The image can be started: every snapshot of its chain, and every blob with all its bytes, once the garbage is gone. */
async function assertWhole(node: ContainerdNode, image: MadeImage): Promise<void> {
  const { leases, snapshots } = await listNode(node);
  assert.deepEqual(leases, []);
  assert.ok(snapshots.every((line) => line.includes(" committed on ")));
  for (const { descriptor, diffID } of image.layers) {
    const { labels } = await node.in.content.info(descriptor.digest);
    assert.equal(labels["containerd.io/uncompressed"], diffID);
    const path = node.local(`${node.blobsFolder}/sha256/${digestHex(descriptor.digest)}`);
    const { size, mode, nlink } = await stat(path);
    assert.deepEqual([size, mode & 0o777, nlink], [descriptor.size, 0o444, 1]);
  }
  const { labels } = await node.in.content.info(image.config.digest);
  assert.equal((await node.snapshots.stat(labels["containerd.io/gc.ref.snapshot.overlayfs"] ?? "")).kind, "committed");
}

function blobNames(node: ContainerdNode): Promise<string[]> {
  return readdir(node.local(`${node.blobsFolder}/sha256`));
}

async function blobInodes(node: ContainerdNode): Promise<Map<string, number>> {
  const folder = node.local(`${node.blobsFolder}/sha256`);
  const names = (await readdir(folder)).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, (await stat(`${folder}/${name}`)).ino] as const)));
}
