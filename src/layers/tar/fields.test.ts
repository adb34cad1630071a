import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { numeric } from "../../../test/support/tar-maker.ts";
import { parseDecimal, parseNumeric, parseOctal, parsePaxTime, parseString } from "./fields.ts";

const field = (text: string) => Buffer.from(text, "latin1");

describe("number fields of tar headers", () => {
  it("read octal between spaces and NULs", () => {
    assert.equal(parseOctal(field("0000644\0"), 0, 8), 0o644);
    assert.equal(parseOctal(field(" 644 \0\0\0"), 0, 8), 0o644);
    assert.equal(parseOctal(field("644\x00999"), 0, 7), 0o644);
    assert.equal(parseOctal(Buffer.alloc(8), 0, 8), 0);
  });

  it("refuse other digits", () => {
    for (const text of ["0000008\0", "12 34\0\0\0", "-1\0\0\0\0\0\0"])
      assert.throws(() => parseOctal(field(text), 0, 8), /octal/);
  });

  it("read back what is written, octal or base-256", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.boolean(), (value, base256) => {
        assert.equal(parseNumeric(numeric(value, 12, base256), 0, 12), value);
      }),
    );
  });

  it("refuse base-256 beyond 64 bits", () => {
    assert.throws(() => parseNumeric(Buffer.from("807fffffffffffffffffffff", "hex"), 0, 12), /64 bits/);
  });
});

describe("decimal numbers of PAX records", () => {
  it("have an optional sign", () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => assert.equal(parseDecimal(field(String(value))), value)));
    assert.equal(parseDecimal(field("+7")), 7);
  });

  it("refuse anything else", () => {
    for (const text of ["", "-", "1.5", "0x1", " 1", "1 ", "9223372036854775808", "1e3"])
      assert.throws(() => parseDecimal(field(text)), { code: "invalid-tar" }, text);
  });
});

describe("times of PAX records", () => {
  const cases: readonly [string, number, number][] = [
    ["5", 5, 0],
    ["5.", 5, 0],
    ["5.5", 5, 500_000_000],
    ["5.123456789999", 5, 123_456_789],
    ["-1.5", -2, 500_000_000],
    ["-0.25", -1, 750_000_000],
    ["-3", -3, 0],
  ];
  for (const [text, seconds, nanoseconds] of cases)
    it(`${text} is ${seconds} s and ${nanoseconds} ns`, () => {
      const time = parsePaxTime(field(text));
      assert.equal(time.seconds, seconds);
      assert.equal(time.nanoseconds, nanoseconds);
    });

  it("refuse other forms", () => {
    for (const text of ["", ".", "1.2.3", "1,5", "1.-5"])
      assert.throws(() => parsePaxTime(field(text)), { code: "invalid-tar" });
  });
});

it("strings end at the first NUL", () => {
  assert.deepEqual(Buffer.from(parseString(field("ab\0c"))).toString(), "ab");
  assert.deepEqual(Buffer.from(parseString(field("abc"))).toString(), "abc");
});
