import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { type GoldenDigests, goldenDigest, goldenDisks, goldenFile } from "../../../test/support/golden-disks.ts";
import { formatVersion } from "../index-document.ts";

const golden: GoldenDigests = JSON.parse(readFileSync(goldenFile, "utf8"));

test("the golden disks are those of this format version", () => {
  assert.equal(golden.formatVersion, formatVersion);
  assert.deepEqual(
    Object.keys(golden.disks),
    goldenDisks.map(({ name }) => name),
  );
});

for (const disk of goldenDisks) {
  test(`a disk keeps its bytes: ${disk.name}`, async () => {
    await using scope = new AsyncDisposableStack();
    assert.equal(
      await goldenDigest(scope, disk),
      golden.disks[disk.name],
      "the bytes of disks have changed; if that is meant, run `node scripts/golden-disks.ts --write`",
    );
  });
}
