import { pick, type Random } from "./target.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const values: readonly Json[] = [
  ...[null, true, false, 0, -1, 0.5, 1e308, 2 ** 53, "", " ", "..", "__proto__", "\u001b[31m", "\u0000", "\ud800"],
  ...[[], {}, [null], { __proto__: null }, { constructor: 1 }, "x".repeat(100_000), "sha256:", "0".repeat(64)],
  ...["9999-99-99T99:99:99Z", "1.0", "2.0", "layers/../../etc", "https://user:secret@host", "application/json"],
];

const pieces = [
  ...["{", "}", "[", "]", '"', "\\", ",", ":", "\0", "\n", "\t", " ", "- ", "---\n", "&a ", "*a ", "!!binary ", "? "],
  ...[
    "[[",
    "]]",
    "= ",
    "'''",
    '"""',
    "1e999",
    "-0",
    "null",
    "0x",
    "\u001b[2J",
    "\xff\xfe",
    "\ufeff",
    "%YAML 9.9\n",
    "<<: ",
  ],
];

/** A valid document with some changes: to its values where it is JSON, or to its text. */
export function mutatedDocument(document: string, random: Random): Buffer {
  let text = document;
  if (text.startsWith("{") && random(3) > 0) {
    let value: Json = JSON.parse(text);
    for (let count = 1 + random(3); count > 0; count--) value = changed(value, random);
    text = JSON.stringify(value) ?? "";
    if (random(4) > 0) return Buffer.from(text);
  }
  let bytes: Buffer = Buffer.from(text);
  for (let count = 1 + random(4); count > 0; count--) bytes = changedText(bytes, random);
  return bytes;
}

/** Goes down at random and changes what it comes to. */
function changed(value: Json, random: Random): Json {
  if (value === null || typeof value !== "object" || random(8) === 0) return replacement(value, random);
  if (Array.isArray(value)) {
    const at = random(value.length + 1);
    if (at === value.length) return repeated(value, random);
    return value.map((item, index) => (index === at ? changed(item, random) : item));
  }
  const keys = Object.keys(value);
  const key = pick(random, keys);
  if (key === undefined) return replacement(value, random);
  const { [key]: chosen, ...rest } = value;
  if (random(6) === 0) return rest;
  if (random(6) === 0) return { ...value, [JSON.stringify(pick(random, values)).slice(1, 40)]: pick(random, values) };
  return { ...value, [key]: changed(chosen ?? null, random) };
}

function repeated(list: Json[], random: Random): Json[] {
  const item = pick(random, [...list, ...values]);
  return Array.from({ length: pick(random, [0, 1, 3, 600, 2500]) }, () => item);
}

function replacement(value: Json, random: Random): Json {
  if (typeof value === "string" && random(2) === 0) {
    const at = random(value.length + 1);
    return value.slice(0, at) + pick(random, pieces) + value.slice(at + random(3));
  }
  if (random(10) > 0) return pick(random, values);
  let nested: Json = value;
  for (let depth = random(2000); depth > 0; depth--) nested = random(2) === 0 ? [nested] : { k: nested };
  return nested;
}

function changedText(bytes: Buffer, random: Random): Buffer {
  const at = random(bytes.length + 1);
  const before = bytes.subarray(0, at);
  const after = bytes.subarray(at);
  switch (random(6)) {
    case 0:
      return Buffer.concat([before, Buffer.from([random(256)]), after.subarray(1)]);
    case 1:
      return Buffer.concat([before, Buffer.from(pick(random, pieces)), after]);
    case 2:
      return Buffer.from(random(3) === 0 ? before : Buffer.concat([before, after.subarray(random(40))]));
    case 3: {
      const from = random(bytes.length + 1);
      return Buffer.concat([before, bytes.subarray(from, from + random(200)), after]);
    }
    case 4:
      return Buffer.concat([before, Buffer.from(pick(random, pieces).repeat(pick(random, [2, 100, 20_000]))), after]);
    default:
      return Buffer.concat([before, Buffer.from(JSON.stringify(pick(random, values))), after]);
  }
}
