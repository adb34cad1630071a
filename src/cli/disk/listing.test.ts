import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { longRow, modeString, showName } from "./listing.ts";

const file: Inode = {
  nid: 1,
  position: 0,
  headerBytes: 64,
  xattrBytes: 0,
  layout: 0,
  mode: 0o100644,
  sizeBytes: 12,
  union: 0,
  ino: 0,
  uid: 1000,
  gid: 70_000,
  mtimeSeconds: 1_700_000_000,
  mtimeNanoseconds: 0,
  linkCount: 2,
  reserved: 0,
};

describe("a long listing", () => {
  it("shows modes as ls does", () => {
    const modes: [number, string][] = [
      [0o100644, "-rw-r--r--"],
      [0o040755, "drwxr-xr-x"],
      [0o104755, "-rwsr-xr-x"],
      [0o104644, "-rwSr--r--"],
      [0o102755, "-rwxr-sr-x"],
      [0o041777, "drwxrwxrwt"],
      [0o041776, "drwxrwxrwT"],
      [0o120777, "lrwxrwxrwx"],
      [0o020000, "c---------"],
      [0o060660, "brw-rw----"],
      [0o010600, "prw-------"],
    ];
    for (const [mode, shown] of modes) assert.equal(modeString(mode), shown);
  });

  it("shows sizes of files, numbers of devices, and times that no calendar has", () => {
    assert.deepEqual(longRow(file), ["-rw-r--r--", "2", "1000", "70000", "12", "2023-11-14 22:13"]);
    assert.equal(longRow({ ...file, mode: 0o020600, union: 0x1110_0370 })[4], "3, 70000");
    assert.equal(longRow({ ...file, mtimeSeconds: 2 ** 53 - 1 })[5], String(2 ** 53 - 1));
    assert.equal(longRow({ ...file, mtimeSeconds: 253_402_300_800 })[5], "+010000-01-01 00:00");
  });

  it("keeps control characters from terminals only", () => {
    const name = Buffer.from("a\u001b[31mä\n");
    assert.equal(showName(name, true).toString(), "a?[31mä?");
    assert.equal(showName(name, false), name);
  });
});
