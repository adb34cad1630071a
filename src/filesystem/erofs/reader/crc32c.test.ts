import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c } from "./crc32c.ts";

test("CRC-32C gives the check value of its definition when inverted at both ends (RFC 3720, B.4)", () => {
  assert.equal(~crc32c(0xffff_ffff, Buffer.from("123456789")) >>> 0, 0xe306_9283);
  assert.equal(~crc32c(0xffff_ffff, new Uint8Array(32)) >>> 0, 0x8a91_36aa);
});
