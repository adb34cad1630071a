import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { formatVersion } from "../src/disk/index-document.ts";
import { goldenDigest, goldenDisks, goldenFile } from "../test/support/golden-disks.ts";

// Prints the digests of the golden disks as they are built now; `--write` puts them into test/corpus/golden-disks.json. For a change of
// the disk format on purpose: together with a new format version and docs/disk-format.md.

const { values } = parseArgs({ options: { write: { type: "boolean" } } });
await using scope = new AsyncDisposableStack();
const disks: Record<string, string> = {};
for (const disk of goldenDisks) disks[disk.name] = await goldenDigest(scope, disk);
const text = `${JSON.stringify({ formatVersion, disks }, undefined, 2)}\n`;
process.stdout.write(text);
if (values.write) await writeFile(goldenFile, text);
