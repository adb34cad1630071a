import { parentPort } from "node:worker_threads";
import { layerLimits } from "../../../layers/limits.ts";
import { readLayer } from "../../../layers/read-layer.ts";
import { YoungGarbage } from "../../../layers/young-garbage.ts";
import { limitValues } from "../../../oci/limit.ts";
import { isSharedPiece } from "../../../oci/piece-buffers.ts";
import { BatchSink } from "../contents/batch-sink.ts";
import { batchBytes } from "../contents/content-batch.ts";
import { releasing } from "./releasing.ts";
import type { FromWorker, LayerTask, ToWorker } from "./worker-protocol.ts";

// Reads layers, one after the other: input bytes come in as messages, contents and at last the tree go out.

if (parentPort === null) throw new Error("runs only as a worker thread");
const port = parentPort;

/** Entries of a layer whose tables are worth collecting before the next one is read. */
const largeLayerEntries = 20_000;

const garbage = new YoungGarbage();

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
      inputDigest = message.digest;
      wakeInput?.();
      return;
    case "taken":
      sink.taken(message.data);
      return;
  }
});

async function* arrivals(): AsyncGenerator<Uint8Array> {
  for (;;) {
    const bytes = inputs.shift();
    if (bytes !== undefined) yield bytes;
    else if (inputEnded) return;
    else
      await new Promise<void>((resolve) => {
        wakeInput = resolve;
      });
  }
}

/** What is aborted ends with its thread. */
const { signal } = new AbortController();

const sink = new BatchSink(
  (batch) => post({ type: "batch", batch }),
  // Shared: moving an unshared buffer to another thread and back costs as much as filling it.
  () => new Uint8Array(new SharedArrayBuffer(batchBytes)),
  signal,
);

function release(used: Uint8Array): void {
  post({ type: "used", sizeBytes: used.length, shared: isSharedPiece(used) ? used : undefined });
}

async function run(task: LayerTask): Promise<void> {
  inputEnded = false;
  inputs.length = 0;
  try {
    const result = await readLayer({
      input: releasing(arrivals(), release),
      descriptor: task.descriptor,
      diffID: task.diffID,
      isBase: task.isBase,
      inputDigest: () => inputDigest,
      sink,
      limits: limitValues(layerLimits, task.limits),
      signal,
    });
    sink.flush();
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
