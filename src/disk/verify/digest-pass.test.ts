import assert from "node:assert/strict";
import { createHash, randomBytes, webcrypto } from "node:crypto";
import { test } from "node:test";
import { MemorySource } from "../../filesystem/byte-source.ts";
import { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { checkDigests } from "./digest-pass.ts";

const unitBytes = 1 << 20;
const bytes = randomBytes(3 * unitBytes);
const units = [0, 1, 2].map((i) => ({
  kind: undefined,
  position: i * unitBytes,
  length: unitBytes,
  paddedLength: unitBytes,
  digest: createHash("sha256")
    .update(bytes.subarray(i * unitBytes, (i + 1) * unitBytes))
    .digest(),
}));

for (const inThisThread of [true, false])
  test(`large units are hashed in ${inThisThread ? "the calling thread where it asks for that" : "other threads"}`, async (t) => {
    const elsewhere = t.mock.method(webcrypto.subtle, "digest");
    const spoiled = Buffer.from(bytes);
    spoiled[unitBytes + 7] ^= 1;
    for (const [content, wrong] of [
      [bytes, []],
      [spoiled, [`bytes ${unitBytes} to ${2 * unitBytes - 1}`]],
    ] as const) {
      const problems = new ProblemList();
      const options = { patches: [], onUnit: () => {}, endBytes: bytes.length, inThisThread };
      await checkDigests(new MemorySource(content), units, problems, options);
      assert.deepEqual(
        problems.problems.map(({ place }) => place),
        wrong,
      );
    }
    assert.equal(elsewhere.mock.callCount(), inThisThread ? 0 : 6);
  });
