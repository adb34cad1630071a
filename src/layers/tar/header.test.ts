import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { header } from "../../../test/support/tar-maker.ts";
import { parseHeader } from "./header.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

describe("parseHeader", () => {
  it("reads back what is written", () => {
    const name = fc.string({ unit: "grapheme-ascii", maxLength: 100 }).filter((value) => !value.includes("\0"));
    const small = fc.nat({ max: 0o7777777 });
    fc.assert(
      fc.property(
        fc.record({ name, linkName: name, mode: small, uid: small, gid: small, major: small, minor: small }),
        fc.maxSafeInteger(),
        fc.nat({ max: 2 ** 33 - 1 }),
        fc.constantFrom("ustar", "gnu", "star"),
        fc.boolean(),
        (fields, mtime, size, format, signedChecksum) => {
          const parsed = parseHeader(header({ ...fields, mtime, size, format: format as "ustar", signedChecksum }));
          assert.equal(text(parsed.name), fields.name);
          assert.equal(text(parsed.linkName), fields.linkName);
          assert.equal(parsed.format, format);
          assert.equal(parsed.mtimeSeconds, mtime);
          assert.equal(parsed.size, size);
          for (const key of ["mode", "uid", "gid", "major", "minor"] as const) assert.equal(parsed[key], fields[key]);
        },
      ),
    );
  });

  it("joins the prefix of ustar and star, and that of GNU headers whose times are no numbers", () => {
    assert.equal(text(parseHeader(header({ name: "n", prefix: "p/q" })).name), "p/q/n");
    assert.equal(text(parseHeader(header({ name: "n", prefix: "p", format: "star" })).name), "p/n");
    assert.equal(text(parseHeader(header({ name: "n", format: "gnu", raw: { 345: "old/go" } })).name), "old/go/n");
    assert.equal(text(parseHeader(header({ name: "n", format: "gnu", raw: { 345: "00000001234\0" } })).name), "n");
  });

  it("leaves devices out of v7 headers", () => {
    const parsed = parseHeader(header({ name: "n", format: "v7", raw: { 329: "0000007\0" } }));
    assert.equal(parsed.format, "v7");
    assert.equal(parsed.major, 0);
  });

  it("finds any changed byte by the checksum", () => {
    fc.assert(
      fc.property(fc.nat({ max: 511 }), fc.integer({ min: 1, max: 255 }), (at, difference) => {
        const block = header({ name: "name", size: 5 });
        block[at] = ((block[at] as number) + difference) & 0xff;
        const inChecksum = at >= 148 && at < 156;
        if (!inChecksum) assert.throws(() => parseHeader(block), /checksum|octal/);
      }),
    );
  });
});
