import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { AreaWriter } from "./area-writer.ts";
import { MemoryOutput } from "./output.ts";

const areaBytes = 24 << 20;
const areaStart = 12_288;

test("what was written in any order stands in the output, and zeros elsewhere", async () => {
  const write = fc.record({
    position: fc.integer({ min: 0, max: areaBytes - 5000 }),
    length: fc.integer({ min: 1, max: 5000 }),
    value: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(write, { maxLength: 60 }), async (writes) => {
      const output = new MemoryOutput();
      const expected = new Uint8Array(areaStart + areaBytes);
      const area = new AreaWriter(output, areaStart);
      for (const { position, length, value } of writes) {
        await area.write(new Uint8Array(length).fill(value), position);
        expected.fill(value, areaStart + position, areaStart + position + length);
      }
      await area.finish(areaBytes);
      assert.ok(Buffer.from(output.bytes(expected.length)).equals(expected));
    }),
    { numRuns: 20 },
  );
});
