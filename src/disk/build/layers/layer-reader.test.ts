import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../../../test/support/image-maker.ts";
import { waitUntil } from "../../../../test/support/processes.ts";
import { directory, file, symbolicLink, tar } from "../../../../test/support/tar-maker.ts";
import { LayerError } from "../../../layers/layer-error.ts";
import type { LayerResult } from "../../../layers/read-layer.ts";
import { LayerPool } from "./layer-pool.ts";
import type { LayerReader, RunningLayer } from "./layer-reader.ts";
import { OwnThread } from "./own-thread.ts";
import type { LayerTask } from "./worker-protocol.ts";

// What reads layers: the tests run with each.
const readers = { OwnThread, LayerPool };
const { signal } = new AbortController();

type Layer = { readonly task: LayerTask; readonly blob: Uint8Array };

function layerOf(bytes: Uint8Array): Layer {
  const blob = gzipSync(bytes, { level: 1 });
  const descriptor = {
    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
    digest: sha256(blob),
    size: blob.length,
  };
  return { task: { descriptor, diffID: sha256(bytes), isBase: true, limits: {} }, blob };
}

/** Of more than runs ahead of who takes its batches: 9 MiB, most of which do not compress. */
const large = layerOf(
  tar(
    directory("d"),
    file("d/random", randomBytes(6 << 20)),
    file("d/small", "small"),
    symbolicLink("link", "d/small"),
    file("text", "text".repeat(600_000)),
    file("more", randomBytes(700_000)),
  ),
);
const small = [1, 2, 3, 4, 5].map((n) => layerOf(tar(file(`file-${n}`, "x".repeat(10_000 * n)))));

async function* pieces({ blob }: Layer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < blob.length; at += 100_000) {
    await new Promise((resolve) => setImmediate(resolve));
    yield blob.slice(at, at + 100_000);
  }
}

/** A digest of all that the layer gives, in order, and its result. */
async function takeAll(running: RunningLayer): Promise<{ given: string; result: LayerResult }> {
  const given = createHash("sha256");
  for (let batch = await running.nextBatch(); batch !== undefined; batch = await running.nextBatch()) {
    for (let i = 0; i < batch.count; i++) {
      given.update(`${batch.kinds[i]} ${batch.sizes[i]} `).update(batch.digests.subarray(32 * i, 32 * i + 32));
      if (batch.kinds[i] === 0 || batch.kinds[i] === 2)
        given.update(batch.data.subarray(batch.offsets[i], batch.offsets[i] + batch.sizes[i]));
    }
    running.taken(batch);
  }
  return { given: given.digest("hex"), result: running.result() };
}

async function withReader<Result>(reader: LayerReader, action: (reader: LayerReader) => Promise<Result>) {
  try {
    return await action(reader);
  } finally {
    await reader.close();
  }
}

test("threads and the own thread give the same contents and trees", async () => {
  const read = (reader: LayerReader) =>
    withReader(reader, async () => takeAll(await reader.start(large.task, pieces(large), signal, () => {})));
  const own = await read(new OwnThread(2));
  assert.deepEqual(await read(new LayerPool(2)), own);
  assert.equal(own.result.contentCount, 4);
});

for (const [name, Reader] of Object.entries(readers)) {
  test(`${name}: more layers than it reads at once are read one after the other, and all of each is told`, async () => {
    await withReader(new Reader(2), async (reader) => {
      const read = new Map<Layer, number>();
      const begun = small.map((layer) =>
        reader.start(layer.task, pieces(layer), signal, (bytes) => read.set(layer, bytes)),
      );
      for (const [n, running] of begun.entries()) {
        const { result } = await takeAll(await running);
        assert.equal(result.fileBytes, 10_000 * (n + 1));
      }
      assert.deepEqual(
        small.map((layer) => read.get(layer)),
        small.map(({ blob }) => blob.length),
      );
    });
  });

  test(`${name}: other bytes than those of the descriptor fail the layer`, async () => {
    await withReader(new Reader(1), async (reader) => {
      const { digest } = small[1].task.descriptor;
      const task = { ...small[0].task, descriptor: { ...small[0].task.descriptor, digest } };
      const running = await reader.start(task, pieces(small[0]), signal, () => {});
      const isMismatch = (error: unknown) => error instanceof LayerError && error.code === "digest-mismatch";
      await assert.rejects(takeAll(running), isMismatch);
      await assert.rejects(running.ended, isMismatch);
    });
  });

  test(`${name}: an abort ends a layer whose input hangs`, async () => {
    await withReader(new Reader(1), async (reader) => {
      const stop = new AbortController();
      async function* hanging(): AsyncGenerator<Uint8Array> {
        yield large.blob.slice(0, 50_000);
        await new Promise(() => {});
      }
      const running = await reader.start(large.task, hanging(), stop.signal, () => {});
      const reason = new Error("enough");
      setImmediate(() => stop.abort(reason));
      await assert.rejects(takeAll(running), reason);
      await assert.rejects(running.ended, reason);
    });
  });

  test(`${name}: an abort lets go of the input of a layer that waits until its contents are taken`, async () => {
    await withReader(new Reader(1), async (reader) => {
      const stop = new AbortController();
      let isLetGo = false;
      async function* held(): AsyncGenerator<Uint8Array> {
        try {
          yield* pieces(large);
        } finally {
          isLetGo = true;
        }
      }
      const running = await reader.start(large.task, held(), stop.signal, () => {});
      // As many as may be given and not taken.
      for (let i = 0; i < 4; i++) assert.ok(await running.nextBatch());
      const reason = new Error("enough");
      stop.abort(reason);
      await assert.rejects(running.ended, reason);
      await waitUntil("the input is let go of", async () => isLetGo);
    });
  });

  test(`${name}: a signal that has aborted ends a layer at once`, async () => {
    await withReader(new Reader(1), async (reader) => {
      const reason = new Error("before");
      const started = reader.start(small[0].task, pieces(small[0]), AbortSignal.abort(reason), () => {});
      await assert.rejects(started.then(takeAll), reason);
    });
  });

  test(`${name}: a layer goes on when its batches are taken late`, async () => {
    await withReader(new Reader(1), async (reader) => {
      let read = 0;
      const running = await reader.start(large.task, pieces(large), signal, (bytes) => {
        read = bytes;
      });
      const first = await running.nextBatch();
      assert.ok(first);
      running.taken(first);
      await takeAll(running);
      assert.equal(read, large.blob.length);
    });
  });
}
