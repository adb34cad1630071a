import { parentPort } from "node:worker_threads";
import { inputsHeld } from "../../../layers/compression.ts";
import type { ContentSink } from "../../../layers/content.ts";
import { layerLimits } from "../../../layers/limits.ts";
import { readLayer } from "../../../layers/read-layer.ts";
import { YoungGarbage } from "../../../layers/young-garbage.ts";
import { limitValues } from "../../../oci/limit.ts";
import { isSharedPiece } from "../../../oci/piece-buffers.ts";
import { BatchWriter } from "../contents/batch-writer.ts";
import { batchBytes, batchKind } from "../contents/content-batch.ts";
import { batchesAhead, type FromWorker, type LayerTask, type ToWorker } from "./worker-protocol.ts";

// Reads layers, one after the other: input bytes come in as messages, contents and at last the tree go out.

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;

/** Entries of a layer whose tables are worth collecting before the next one is read. */
const largeLayerEntries = 20_000;

const garbage = new YoungGarbage();
const spareBuffers: Uint8Array[] = [];
let batchesOut = 0;
let wakeSink: (() => void) | undefined;

const inputs: Uint8Array[] = [];
let inputEnded = false;
let inputDigest = "";
let wakeInput: (() => void) | undefined;

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "layer":
      void run(message.task);
      return;
    case "input":
      inputs.push(message.bytes);
      wakeInput?.();
      return;
    case "input-end":
      inputEnded = true;
      inputDigest = message.digest ?? "";
      wakeInput?.();
      return;
    case "taken":
      batchesOut--;
      if (message.data.length === batchBytes) spareBuffers.push(message.data);
      wakeSink?.();
      return;
  }
});

async function* input(): AsyncIterable<Uint8Array> {
  const held: Uint8Array[] = [];
  for (;;) {
    const bytes = inputs.shift();
    if (bytes !== undefined) {
      yield bytes;
      held.push(bytes);
      const used = held.length < inputsHeld ? undefined : held.shift();
      if (used !== undefined)
        post({ type: "used", sizeBytes: used.length, shared: isSharedPiece(used) ? used : undefined });
    } else if (inputEnded) return;
    else
      await new Promise<void>((resolve) => {
        wakeInput = resolve;
      });
  }
}

function batchingSink(): { readonly sink: ContentSink; readonly flush: () => void } {
  const writer = new BatchWriter(
    (batch) => {
      batchesOut++;
      post({ type: "batch", batch });
    },
    // Shared: moving an unshared buffer to another thread and back costs as much as filling it.
    () => spareBuffers.pop() ?? new Uint8Array(new SharedArrayBuffer(batchBytes)),
  );
  const sink: ContentSink = {
    small: (digest, data) => writer.add(batchKind.small, data.length, digest, data),
    beginLarge: (sizeBytes) => writer.add(batchKind.beginLarge, sizeBytes),
    chunk: (digest, data) =>
      data === undefined
        ? writer.add(batchKind.hole, 0, digest)
        : writer.add(batchKind.chunk, data.length, digest, data),
    endLarge: (key, isNew) => writer.add(isNew ? batchKind.endLarge : batchKind.endRepeated, 0, key),
    ready: async () => {
      while (batchesOut >= batchesAhead)
        await new Promise<void>((resolve) => {
          wakeSink = resolve;
        });
    },
  };
  return { sink, flush: () => writer.flush() };
}

async function run(task: LayerTask): Promise<void> {
  inputEnded = false;
  inputs.length = 0;
  const { sink, flush } = batchingSink();
  try {
    const result = await readLayer({
      input: input(),
      descriptor: task.descriptor,
      diffID: task.diffID,
      isBase: task.isBase,
      ...(task.isHashedBefore && { inputDigest: () => inputDigest }),
      sink,
      limits: limitValues(layerLimits, task.limits),
      signal: new AbortController().signal,
    });
    flush();
    const { tree } = result;
    post({ type: "result", result }, [
      ...new Set(
        [
          tree.names,
          tree.nameEnds,
          tree.entryInode,
          tree.firstChild,
          tree.attribute,
          tree.mtimeSeconds,
          tree.mtimeNanoseconds,
          tree.linkCount,
          tree.payload,
          tree.targets,
          tree.targetEnds,
        ].map((array) => array.buffer as ArrayBuffer),
      ),
    ]);
    if (tree.entryCount > largeLayerEntries) garbage.collectAll();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : undefined;
    post({ type: "error", code, message: error instanceof Error ? error.message : String(error) });
  }
}
