import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aclAfterChmod, aclKind } from "./posix-acl.ts";

const none = 0xffff_ffff;
type Entry = readonly [tag: number, permissions: number, id?: number];

function acl(...entries: readonly Entry[]): Buffer {
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(2, 0);
  for (const [i, [tag, permissions, id = none]] of entries.entries()) {
    value.writeUInt16LE(tag, 4 + 8 * i);
    value.writeUInt16LE(permissions, 6 + 8 * i);
    value.writeUInt32LE(id, 8 + 8 * i);
  }
  return value;
}

const owner: Entry = [1, 6];
const user: Entry = [2, 6, 1000];
const group: Entry = [4, 4];
const namedGroup: Entry = [8, 5, 50];
const mask: Entry = [16, 7];
const other: Entry = [32, 0];

describe("aclKind", () => {
  it("tells minimal, extended and empty ones", () => {
    assert.equal(aclKind(acl(owner, group, other)), "minimal");
    assert.equal(aclKind(acl(owner, user, group, namedGroup, mask, other)), "extended");
    assert.equal(aclKind(acl(owner, group, mask, other)), "extended");
    assert.equal(aclKind(acl()), "empty");
    assert.equal(aclKind(Buffer.alloc(0)), "empty");
  });

  const invalid: Readonly<Record<string, Buffer>> = {
    "another version": Buffer.from("01000000", "hex"),
    "half an entry": acl(owner, group, other).subarray(0, -4),
    "no mask with a named user": acl(owner, user, group, other),
    "no owner": acl(group, other),
    "no others": acl(owner, group),
    "wrong order": acl(owner, other, group),
    "two owners": acl(owner, owner, group, other),
    "unknown tag": acl(owner, [3, 1], group, other),
    "unknown permission": acl([1, 8], group, other),
    "a named user without id": acl(owner, [2, 6], group, mask, other),
  };
  for (const [name, value] of Object.entries(invalid))
    it(`finds it invalid: ${name}`, () => {
      assert.equal(aclKind(value), "invalid");
    });
});

it("chmod changes owner, mask and others, and the group where there is no mask", () => {
  const changed = aclAfterChmod(acl(owner, user, group, mask, other), 0o751);
  assert.deepEqual(Buffer.from(changed), acl([1, 7], user, group, [16, 5], [32, 1]));
  assert.deepEqual(Buffer.from(aclAfterChmod(acl([1, 0, 7], [4, 0], [32, 0]), 0o421)), acl([1, 4], [4, 2], [32, 1]));
});
