import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  anything,
  array,
  naturalNumber,
  number,
  object,
  optional,
  orAbsent,
  readShape,
  record,
  type Shape,
  string,
  stringThat,
} from "./json-shape.ts";

const isShort = (text: string): text is string => text.length < 4;
const shape = object({
  name: string,
  layers: array(object({ size: naturalNumber, note: orAbsent(string) })),
  labels: optional(record(stringThat(isShort, "short"))),
});
const good = { name: "a", layers: [{ size: 1, note: null }], labels: { x: "y" } };

describe("readShape", () => {
  test("gives the fields that the shape names", () => {
    const { value } = readShape(shape, { ...good, more: 1 });
    assert.deepEqual(value, { name: "a", layers: [{ size: 1, note: undefined }], labels: { x: "y" } });
  });

  const problems: readonly [unknown, string, string][] = [
    [[], "", "must be an object"],
    [null, "", "must be an object"],
    [{ ...good, name: undefined }, "name", "is missing; must be a string"],
    [{ ...good, layers: {} }, "layers", "must be a list"],
    [{ ...good, layers: [good.layers[0], { size: -1 }] }, "layers.1.size", "must be a whole number from 0 to 90071"],
    [{ ...good, labels: null }, "labels", "must be an object"],
    [{ ...good, labels: ["x"] }, "labels", "must be an object"],
    [{ ...good, labels: { x: "y", "a.b": 1 } }, "labels.a.b", "must be a string"],
    [{ ...good, labels: { x: "long" } }, "labels.x", "must be short"],
  ];
  for (const [value, path, message] of problems) {
    test(`says where and what: ${path || "the whole"} ${message}`, () => {
      const { problem } = readShape(shape, value);
      assert.equal(problem?.path, path);
      assert.ok(problem.message.startsWith(message), problem.message);
    });
  }

  test("takes only numbers that are exact", () => {
    const fits = (of: Shape<unknown>, text: string) => readShape(of, JSON.parse(text)).problem === undefined;
    for (const text of ["0", "-0", "9007199254740991"]) assert.ok(fits(naturalNumber, text), text);
    for (const text of ["-1", "0.5", "9007199254740992", "1e999", '"1"', "null", "true", "[1]"]) {
      assert.ok(!fits(naturalNumber, text), text);
    }
    assert.ok(fits(number, "-0.5"));
    assert.ok(!fits(number, "1e999"));
  });

  test("does not take keys of the prototype for data, nor lets data set it", () => {
    const { value } = readShape(record(anything), JSON.parse('{"__proto__": {"polluted": true}}'));
    assert.ok(value && !("polluted" in value));
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  });

  test("passes on what is no matter of shape", () => {
    const broken: Shape<never> = () => {
      throw new RangeError("broken");
    };
    assert.throws(() => readShape(broken, 1), RangeError);
  });

  test("reads any JSON as a value or a problem", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        const { value, problem } = readShape(shape, json);
        assert.ok((value === undefined) !== (problem === undefined));
      }),
    );
  });
});
