import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../test/support/random.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { documentTarget, readDocument } from "./documents.ts";
import { layerTarget } from "./layers.ts";
import { keepSeed, keptSeeds } from "./seeds.ts";
import { validDocuments } from "./valid-documents.ts";

for (const target of [layerTarget, documentTarget]) {
  describe(`fuzzing: ${target.name}`, () => {
    for (const [name, input] of keptSeeds(target.name)) it(`${name} is right`, () => target.check(input));

    it("300 inputs of one seed are right", async () => {
      const random = seededRandom(1);
      for (let count = 0; count < 300; count++) await target.check(target.make(random));
    });

    it("a seed gives the same inputs again", () => {
      const [one, two] = [seededRandom(7), seededRandom(7)];
      for (let count = 0; count < 20; count++) assert.deepEqual(target.make(one), target.make(two));
    });
  });
}

describe("fuzzing", () => {
  it("begins with documents that are read", async () => {
    for (const [kind, document] of validDocuments) {
      assert.ok(await readDocument(kind, Buffer.from(document)), kind);
    }
  });

  it("keeps what failed", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope);
    const input = { tar: Buffer.from("t"), stored: Buffer.from("s") };
    const name = keepSeed("layer", input, folder);
    keepSeed("document", { auth: Buffer.from("{") }, folder);
    assert.deepEqual([...keptSeeds("layer", folder)], [[name, { stored: input.stored, tar: input.tar }]]);
  });
});
