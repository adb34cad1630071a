import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { paxRecord } from "../../../test/support/tar-maker.ts";
import { parsePaxRecords } from "./pax.ts";

describe("parsePaxRecords", () => {
  it("reads back any keys and binary values, the last of each key", () => {
    const key = fc
      .string({ unit: "binary-ascii", minLength: 1, maxLength: 30 })
      .filter((value) => !value.includes("\0") && !value.includes("=") && !value.startsWith("GNU.sparse."))
      .map((value) => `k${value}`);
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.uint8Array({ maxLength: 200 }))), (records) => {
        const data = Buffer.concat(records.map(([name, value]) => paxRecord(name, value)));
        const expected = new Map(records.map(([name, value]) => [name, Buffer.from(value).toString("hex")]));
        const actual = new Map(
          [...parsePaxRecords(data)].map(([name, value]) => [name, Buffer.from(value).toString("hex")]),
        );
        assert.deepEqual(actual, expected);
      }),
    );
  });

  it("turns the pairs of sparse version 0.0 into the list of 0.1", () => {
    const data = Buffer.concat(
      ["offset=1", "numbytes=2", "offset=5", "numbytes=6"].map((text) => {
        const [key = "", value = ""] = text.split("=");
        return paxRecord(`GNU.sparse.${key}`, value);
      }),
    );
    assert.equal(Buffer.from(parsePaxRecords(data).get("GNU.sparse.map") ?? "").toString(), "1,2,5,6");
  });

  const refused: Readonly<Record<string, string>> = {
    "no length": "path=a\n",
    "length too short": "4 a=b\n",
    "length beyond the end": "99 a=b\n",
    "no newline": "6 a=bc",
    "no equals sign": "6 abc\n",
    "empty key": "6 =ab\n",
    "no space": "12345",
    "sign in the length": "-6 a=b\n",
    "NUL in a path": "10 path=\0\n",
    "NUL in a key": "7 a\0=b\n",
    "sparse pair out of order": "25 GNU.sparse.numbytes=1\n",
    "huge length": "99999999999999999999999 a=b\n",
  };
  for (const [name, text] of Object.entries(refused))
    it(`refuses: ${name}`, () => {
      assert.throws(() => parsePaxRecords(Buffer.from(text, "latin1")), { code: "invalid-tar" });
    });

  it("never fails otherwise on any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        try {
          parsePaxRecords(data);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "invalid-tar");
        }
      }),
    );
  });
});
