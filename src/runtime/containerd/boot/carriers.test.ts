import assert from "node:assert/strict";
import { mkdir, rename, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { run } from "../../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { type CarrierFile, carrierFileName } from "../ownership.ts";
import { findCarriers, parseCarrierFile } from "./carriers.ts";

const record: CarrierFile = { formatVersion: "1", id: "ab".repeat(32), line: "test", sequence: 3, source: "/disks/a" };

/** A snapshot whose `fs` holds a carrier file, as anything may be. */
async function makeCarrier(folder: string, number: string, content: string | Uint8Array): Promise<string> {
  const fs = join(folder, number, "fs");
  await mkdir(fs, { recursive: true });
  await writeFile(join(fs, carrierFileName), content);
  return fs;
}

async function makeLink(folder: string, number: string, target: string): Promise<void> {
  await mkdir(join(folder, number), { recursive: true });
  await symlink(target, join(folder, number, "fs"));
}

const treeOf = (carrier: string) => `../${carrier}/fs/images/${"0".repeat(64)}`;

test("a carrier is a snapshot that links of ours lead through", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "snapshots");
  const fs = await makeCarrier(folder, "7", JSON.stringify(record));
  await makeLink(folder, "9", treeOf("7"));
  await makeLink(folder, "10", `../7/fs/layers/${"1".repeat(64)}`);
  await mkdir(join(folder, "11/fs/etc"), { recursive: true });
  await mkdir(join(folder, "12"));
  await writeFile(join(folder, "metadata"), "");
  assert.deepEqual(await findCarriers(folder), { carriers: [{ number: "7", fs, record }], conditions: [] });
});

test("a carrier file that a container or an image has brought is none of ours", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "snapshots");
  await makeCarrier(folder, "7", JSON.stringify(record));
  // Links of others, and one inside a tree.
  await makeLink(folder, "8", "/somewhere/7/fs/images");
  await makeLink(folder, "9", "../7/fs/images/../..");
  await makeLink(folder, "10", "../7/fs");
  await mkdir(join(folder, "11/fs"), { recursive: true });
  await symlink(treeOf("7"), join(folder, "11/fs/fs"));
  assert.deepEqual(await findCarriers(folder), { carriers: [], conditions: [] });
});

test("a carrier whose file is hidden or gone is found without it", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "snapshots");
  await mkdir(join(folder, "7/fs"), { recursive: true });
  await makeLink(folder, "9", treeOf("7"));
  await makeLink(folder, "10", treeOf("8"));
  const { carriers, conditions } = await findCarriers(folder);
  assert.deepEqual(
    carriers.map(({ number, record }) => [number, record]),
    [
      ["7", undefined],
      ["8", undefined],
    ],
  );
  assert.deepEqual(conditions, []);
});

test("each damaged or hostile file is one condition, and the others are found", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "snapshots");
  const wrong: (string | Uint8Array)[] = [
    "",
    "{",
    "null",
    "[]",
    Buffer.from([0xff, 0xfe, 0]),
    JSON.stringify({ ...record, formatVersion: "2" }),
    JSON.stringify({ ...record, id: "../../etc" }),
    JSON.stringify({ ...record, id: "AB".repeat(32) }),
    JSON.stringify({ ...record, source: "disk.erofs" }),
    JSON.stringify({ ...record, source: "/disks/../etc/x" }),
    JSON.stringify({ ...record, source: "/disks/a\0b" }),
    JSON.stringify({ ...record, source: undefined }),
    `"\u001b[2J${"x".repeat(5000)}"`,
  ];
  for (const [index, content] of wrong.entries()) {
    await makeCarrier(folder, `${index + 1}`, content);
    await makeLink(folder, `${index + 101}`, treeOf(`${index + 1}`));
  }
  await truncate(join(await makeCarrier(folder, "30", ""), carrierFileName), 2 ** 40);
  await makeLink(folder, "130", treeOf("30"));
  await run("mkfifo", [join(await makeFolder(folder, "31"), carrierFileName)]);
  await makeLink(folder, "131", treeOf("31"));
  await symlink("/etc/hostname", join(await makeFolder(folder, "32"), carrierFileName));
  await makeLink(folder, "132", treeOf("32"));
  // Its folder is a link itself: nothing may be mounted through it.
  await rename(await makeCarrier(folder, "33", JSON.stringify(record)), join(folder, "away"));
  await makeLink(folder, "33", "../away");
  await makeLink(folder, "133", treeOf("33"));
  const fs = await makeCarrier(folder, "40", JSON.stringify(record));
  await makeLink(folder, "140", treeOf("40"));

  const { carriers, conditions } = await findCarriers(folder);
  assert.deepEqual(carriers, [{ number: "40", fs, record }]);
  assert.equal(conditions.length, wrong.length + 4);
  for (const { type, message } of conditions) {
    assert.equal(type, "CarrierUnreadable");
    assert.match(message, /inject the disk again$/);
    assert.doesNotMatch(message, /\p{Cc}/u);
  }
});

async function makeFolder(folder: string, number: string): Promise<string> {
  const fs = join(folder, number, "fs");
  await mkdir(fs, { recursive: true });
  return fs;
}

test("a folder that is not there has no carriers", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "snapshots");
  assert.deepEqual(await findCarriers(join(folder, "none")), { carriers: [], conditions: [] });
});

test("a carrier file that is understood is one that was written", () => {
  fc.assert(
    fc.property(fc.json(), fc.option(fc.string()), (text, identity) => {
      assert.throws(() => parseCarrierFile(text));
      const whole = { ...record, ...(identity ? { identity } : {}) };
      assert.deepEqual(parseCarrierFile(JSON.stringify({ ...whole, later: text })), whole);
    }),
    { numRuns: 200 },
  );
});
