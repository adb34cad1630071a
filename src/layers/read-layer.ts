import { createHash } from "node:crypto";
import { type Descriptor, type Digest, digestHex } from "../oci/descriptor.ts";
import { DropCounter, type Dropped } from "./apply/drop-counter.ts";
import { LayerApplier } from "./apply/layer-applier.ts";
import { sealLayer } from "./apply/seal.ts";
import { decompress } from "./compression.ts";
import type { ContentSink } from "./content.ts";
import { ContentWriter } from "./content-writer.ts";
import { LayerError, limitError } from "./layer-error.ts";
import type { LayerTree } from "./layer-tree.ts";
import { type LayerLimits, ratioFreeBytes } from "./limits.ts";
import { TarReader } from "./tar/tar-reader.ts";
import { LayerTarHandler } from "./tar-handler.ts";
import { VerifiedInput } from "./verified-input.ts";

export type ReadLayerOptions = {
  /** The layer's bytes as stored; each piece may be looked at until `inputsHeld` more have been asked for. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Digest and size of the bytes as stored; both are verified. */
  readonly descriptor: Descriptor;
  /** SHA-256 of the uncompressed tar; verified. */
  readonly diffID: Digest;
  readonly sink: ContentSink;
  readonly limits: LayerLimits;
  readonly signal: AbortSignal;
  /** The layer has no layer below: containerd then lets whiteouts delete what the layer has so far. Default false. */
  readonly isBase?: boolean;
  /** The hex SHA-256 of all that `input` gave, where it is known at its end; else it is made here. */
  readonly inputDigest?: () => string;
  /** Told the compressed bytes read so far, after each piece. */
  readonly onProgress?: (compressedBytes: number) => void;
};

export type LayerResult = {
  /** Payloads of regular files are numbers of contents as given to the sink. */
  readonly tree: LayerTree;
  /** Contents given to the sink. */
  readonly contentCount: number;
  /** Sorted numbers of contents that no entry of the tree has. */
  readonly deadContents: Uint32Array;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
  /** Entries of the tar, also those that others replace. */
  readonly entryCount: number;
  /** Sum of the sizes of the tree's regular files, hard links once. */
  readonly fileBytes: number;
  /** What the tar has and the tree has not, by kind. */
  readonly dropped: readonly Dropped[];
};

/**
 * Reads one layer: verifies it, gives its file contents to the sink, and returns the tree that containerd would unpack from it. Nothing
 * is trusted before it returns. Memory is bounded by the limits, not by the size of the layer.
 *
 * Throws `LayerError`, what `input` and the sink throw, or the reason of `signal`.
 */
export async function readLayer(options: ReadLayerOptions): Promise<LayerResult> {
  const { descriptor, diffID, sink, limits, signal } = options;
  const input = new VerifiedInput(options.input, descriptor, options.onProgress, options.inputDigest);
  const dropped = new DropCounter();
  const applier = new LayerApplier({ limits, dropped, isBase: options.isBase ?? false });
  let uncompressedBytes = 0;
  let filledBytes = 0;
  const checkSize = () => {
    if (uncompressedBytes > limits["layer-bytes"])
      throw limitError("layer-bytes", limits["layer-bytes"], "the uncompressed size of the layer");
    const bytes = uncompressedBytes + filledBytes;
    if (bytes > ratioFreeBytes && bytes > limits["layer-ratio"] * input.bytesRead)
      throw limitError("layer-ratio", limits["layer-ratio"], "the ratio of uncompressed to compressed size");
  };
  const writer = new ContentWriter({
    sink,
    onFilled: (bytes) => {
      filledBytes += bytes;
      checkSize();
    },
  });
  const handler = new LayerTarHandler(applier, writer, limits);
  const reader = new TarReader(handler, { paxBytes: limits["pax-bytes"] });
  const hash = createHash("sha256");
  try {
    const { mediaType, size: sizeBytes } = descriptor;
    for await (const piece of decompress(input.bytes(), { mediaType, sizeBytes, signal })) {
      uncompressedBytes += piece.length;
      checkSize();
      hash.update(piece);
      for (let at = 0; at < piece.length; ) {
        at = reader.push(piece, at);
        while (writer.busy) {
          await sink.ready();
          signal.throwIfAborted();
          writer.pump();
        }
      }
      await sink.ready();
    }
    reader.end();
    applier.finish();
  } catch (error) {
    if (error instanceof LayerError && (error.code === "invalid-tar" || error.code === "corrupt-compression"))
      await input.verifyRest(signal);
    throw error;
  } finally {
    input.close();
  }
  input.verify();
  const actual = hash.digest("hex");
  if (actual !== digestHex(diffID))
    throw new LayerError(
      "diff-id-mismatch",
      `the uncompressed layer has digest sha256:${actual}, but the image's config says ${diffID}`,
    );
  const sealed = sealLayer(applier.entries, applier.inodes, writer.contents, applier.origins.take());
  const { whiteouts } = applier;
  return {
    ...sealed,
    tree: whiteouts === undefined ? sealed.tree : { ...sealed.tree, whiteouts },
    contentCount: writer.contents.length,
    uncompressedBytes,
    compressedBytes: input.bytesRead,
    entryCount: handler.entryCount,
    dropped: dropped.list(),
  };
}
