import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { cleanFileMappings, releaseMemory } from "./release-memory.ts";

const smaps = `00400000-00b00000 r--p 00000000 fe:00 4711                               /usr/bin/node
Size:               7168 kB
Rss:                6000 kB
Anonymous:             0 kB
00b00000-01b00000 r-xp 00700000 fe:00 4711                               /usr/bin/node
Rss:               16384 kB
Anonymous:             0 kB
01b00000-01c00000 r--p 01700000 fe:00 4711                               /usr/bin/node
Rss:                1024 kB
Anonymous:           812 kB
01c00000-01d00000 rw-p 01800000 fe:00 4711                               /usr/bin/node
Anonymous:             0 kB
02000000-02100000 r--s 00000000 fe:00 4712                               /usr/lib/locale
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`;

test("only what would come from its file again is let go of", () => {
  assert.deepEqual(cleanFileMappings(smaps), [
    { address: 0x400000n, sizeBytes: 0x700000 },
    { address: 0xb00000n, sizeBytes: 0x1000000 },
  ]);
  assert.deepEqual(cleanFileMappings(""), []);
});

test("afterwards less of the program is in memory, and it goes on as before", async () => {
  const before = fileBytes();
  await releaseMemory();
  const after = fileBytes();
  assert.ok(after < before - (4 << 20), `${before} bytes before, ${after} after`);
  assert.equal(new Intl.NumberFormat("de").format(1234.5), "1.234,5");
  assert.throws(() => new Function("{"));
});

function fileBytes(): number {
  return Number(/^RssFile:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
}
