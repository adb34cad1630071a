import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HostError } from "../../runtime/host/host-error.ts";
import { MemorySpaceGauge } from "./memory-space-gauge.ts";
import { PsiGauge, pressureOf } from "./pressure-gauge.ts";
import { type SpaceGauge, usedPercent } from "./space-gauge.ts";
import { StatfsGauge } from "./statfs-gauge.ts";

const gauges: readonly (readonly [name: string, gauge: SpaceGauge])[] = [
  ["StatfsGauge", new StatfsGauge()],
  ["MemorySpaceGauge", new MemorySpaceGauge()],
];

for (const [name, gauge] of gauges) {
  describe(`${name} keeps the contract of space gauges`, () => {
    test("folders are measured in their order, and sensibly", async () => {
      const uses = await gauge.measure(["/tmp", "/"]);
      assert.deepEqual(
        uses.map(({ folder }) => folder),
        ["/tmp", "/"],
      );
      for (const use of uses) {
        assert.ok(use.totalBytes > 0 && use.freeBytes >= 0 && use.freeBytes <= use.totalBytes);
        assert.ok(use.freeInodes <= use.totalInodes);
        assert.ok(Number.isInteger(use.device));
        assert.ok(usedPercent(use) >= 0 && usedPercent(use) <= 100);
      }
    });
  });
}

test("a folder that is not there is an error, not an empty file system", async () => {
  await assert.rejects(new StatfsGauge().measure(["/nonexistent/nodewarm"]), HostError);
});

test("bytes or inodes count, whichever is more, and what is still to be written", () => {
  const use = { folder: "/", device: 1, totalBytes: 100, freeBytes: 60, totalInodes: 10, freeInodes: 5 };
  assert.equal(Math.round(usedPercent(use)), 50);
  assert.equal(Math.round(usedPercent(use, { bytes: 20, inodes: 0 })), 60);
  assert.equal(Math.round(usedPercent(use, { bytes: 20, inodes: 2 })), 70);
  assert.equal(Math.round(usedPercent({ ...use, totalInodes: 0, freeInodes: 0 })), 40, "some make inodes as needed");
});

test("pressure is read from the line of its kind", () => {
  const text = "some avg10=81.25 avg60=1.00 avg300=0.00 total=1\nfull avg10=2.50 avg60=0.00 avg300=0.00 total=0\n";
  assert.deepEqual([pressureOf(text, "some"), pressureOf(text, "full"), pressureOf("", "some")], [81.25, 2.5, 0]);
});

test("a kernel that tells no pressure has none", async () => {
  assert.equal(typeof (await new PsiGauge().measure()), "string");
});
