import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { edgeLayers } from "../../test/corpus/edge-layers.ts";
import { readStored, readTar, sha256, showTree } from "../../test/support/layer-reading.ts";
import { LayerError } from "./layer-error.ts";

describe("edge layers", () => {
  for (const layer of edgeLayers) {
    const refused = layer.onChain ? undefined : layer.refused;
    it(refused === undefined ? `${layer.name} is read` : `${layer.name}: says why`, async () => {
      const tar = layer.tar();
      const stored = layer.stored?.() ?? tar;
      const read = (pieceBytes: number) =>
        readStored(stored, sha256(tar), {
          pieceBytes,
          ...(layer.mediaType === undefined ? {} : { mediaType: layer.mediaType }),
        });
      if (refused !== undefined) {
        await assert.rejects(read(1 << 16), (error) => error instanceof LayerError && refused.test(error.message));
        return;
      }
      const whole = await read(1 << 20);
      const expected = showTree(whole.tree, whole.sink.contents);
      const cut = await read(stored.length > 100_000 ? 99_991 : 61);
      assert.deepEqual(showTree(cut.tree, cut.sink.contents), expected);
      assert.deepEqual(cut.tree, whole.tree);
      assert.deepEqual(cut.sink.keys, whole.sink.keys);
      for (const pieceBytes of [512, 700, 1500]) {
        const reused = await readTar(tar, { pieceBytes, reusesPieces: true });
        assert.deepEqual(showTree(reused.tree, reused.sink.contents), expected);
      }
    });
  }
});
