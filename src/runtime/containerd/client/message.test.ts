import assert from "node:assert/strict";
import { test } from "node:test";
import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  MessageOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import {
  bool,
  bytes,
  type Decoded,
  decode,
  encode,
  type Field,
  int32,
  int64,
  labels,
  nested,
  nestedList,
  type Schema,
  string,
  strings,
  uint32,
  uint64,
} from "./message.ts";

const inner = { text: string(1), numbers: nested(2, { large: int64(1), negative: int32(3) }) };
/** One field of each kind, with numbers of one and of several bytes. */
const everything = {
  text: string(1),
  data: bytes(2),
  flag: bool(3),
  signed: int32(4),
  unsigned: uint32(15),
  offset: int64(16),
  size: uint64(2047),
  list: strings(2048),
  labels: labels(536_870_911),
  one: nested(7, inner),
  many: nestedList(8, inner),
};

const plain = { noNullPrototype: true };
const safe = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
const text = fc.string({ unit: "grapheme", maxLength: 300 });
const innerValue = fc.record(
  {
    text,
    numbers: fc.option(fc.record({ large: fc.integer(safe), negative: fc.integer() }, plain), { nil: undefined }),
  },
  plain,
);
const everyValue: fc.Arbitrary<Decoded<typeof everything>> = fc.record(
  {
    text,
    data: fc.uint8Array({ maxLength: 300 }),
    flag: fc.boolean(),
    signed: fc.integer(),
    unsigned: fc.integer({ min: 0, max: 0xffff_ffff }),
    offset: fc.integer(safe),
    size: fc.integer({ min: 0, max: safe.max }),
    list: fc.array(text),
    labels: fc.dictionary(text, text, plain),
    one: fc.option(innerValue, { nil: undefined }),
    many: fc.array(innerValue, { maxLength: 3 }),
  },
  plain,
);

test("what is encoded is decoded again", () => {
  fc.assert(
    fc.property(everyValue, (value) => {
      assert.deepEqual(decode(everything, encode(everything, value)), value);
    }),
  );
});

test("protobuf's own runtime reads what is written, and what it writes is read", () => {
  const descriptor = descriptorOf(everything);
  fc.assert(
    fc.property(everyValue, (value) => {
      const theirs = fromBinary(descriptor, encode(everything, value));
      assert.deepEqual(decode(everything, toBinary(descriptor, theirs)), value);
      assert.equal(Reflect.get(theirs, "text"), value.text);
      assert.deepEqual(Reflect.get(theirs, "labels"), value.labels);
      assert.equal(Number(Reflect.get(theirs, "offset")), value.offset);
      assert.equal(Reflect.get(theirs, "$unknown"), undefined);
    }),
  );
});

test("defaults are not sent, and come back", () => {
  const empty = decode(everything, new Uint8Array());
  assert.equal(encode(everything, empty).length, 0);
  assert.equal(encode(everything, {}).length, 0);
  assert.deepEqual(empty, { ...empty, text: "", offset: 0, list: [], labels: {}, one: undefined });
});

test("an empty message in a message is sent: its presence may mean something", () => {
  const { one } = decode(everything, encode(everything, { one: {} }));
  assert.deepEqual(one, { text: "", numbers: undefined });
});

test("a label may have any key", () => {
  const value = { ["__proto__"]: "a", constructor: "b" };
  const read = decode(everything, encode(everything, { labels: value })).labels;
  assert.deepEqual(Object.entries(read), [
    ["__proto__", "a"],
    ["constructor", "b"],
  ]);
});

test("unknown fields, and known ones of another wire type, are skipped", () => {
  const writer = new BinaryWriter();
  writer.tag(99, WireType.Bit64).fixed64(1).tag(98, WireType.Bit32).fixed32(1);
  writer.tag(1, WireType.Varint).int32(5);
  writer.tag(97, WireType.StartGroup).tag(1, WireType.Varint).int32(5).tag(97, WireType.EndGroup);
  writer.tag(1, WireType.LengthDelimited).string("kept");
  assert.equal(decode(everything, writer.finish()).text, "kept");
});

test("a 64-bit number that is no safe integer is refused, both ways", () => {
  const large = new BinaryWriter()
    .tag(16, WireType.Varint)
    .int64(2n ** 53n)
    .finish();
  assert.throws(() => decode(everything, large), /9007199254740992/);
  assert.throws(() => encode(everything, { offset: 0.5 }));
  assert.throws(() => encode(everything, { unsigned: -1 }));
});

test("any bytes are read or refused with an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), everyValue, fc.nat(), (noise, value, cut) => {
      const encoded = encode(everything, value);
      for (const hostile of [noise, encoded.subarray(0, cut % (encoded.length + 1)), Buffer.concat([encoded, noise])]) {
        try {
          decode(everything, hostile);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }
    }),
  );
});

const types: Record<
  Exclude<Field["kind"], "strings" | "labels" | "nested" | "nested-list">,
  FieldDescriptorProto_Type
> = {
  string: FieldDescriptorProto_Type.STRING,
  bytes: FieldDescriptorProto_Type.BYTES,
  bool: FieldDescriptorProto_Type.BOOL,
  int32: FieldDescriptorProto_Type.INT32,
  uint32: FieldDescriptorProto_Type.UINT32,
  int64: FieldDescriptorProto_Type.INT64,
  uint64: FieldDescriptorProto_Type.UINT64,
};

/** The schema as protobuf itself describes messages. */
function descriptorOf(schema: Schema): DescMessage {
  const messageType = [messageProto("Root", schema, ".test.Root")];
  const file = create(FileDescriptorProtoSchema, {
    name: "test.proto",
    package: "test",
    syntax: "proto3",
    messageType,
  });
  const descriptor = createFileRegistry(file, () => undefined).getMessage("test.Root");
  assert.ok(descriptor);
  return descriptor;
}

function messageProto(name: string, schema: Schema, path: string): DescriptorProto {
  const message = create(DescriptorProtoSchema, { name });
  for (const [fieldName, field] of Object.entries(schema)) {
    message.field.push(fieldProto(fieldName, field, path));
    const nestedName = nestedNameOf(fieldName);
    if (field.kind === "nested" || field.kind === "nested-list") {
      message.nestedType.push(messageProto(nestedName, field.schema, `${path}.${nestedName}`));
    }
    if (field.kind === "labels") {
      const entry = messageProto(nestedName, { key: string(1), value: string(2) }, `${path}.${nestedName}`);
      message.nestedType.push(
        create(DescriptorProtoSchema, { ...entry, options: create(MessageOptionsSchema, { mapEntry: true }) }),
      );
    }
  }
  return message;
}

function fieldProto(name: string, field: Field, path: string): FieldDescriptorProto {
  const isList = ["strings", "labels", "nested-list"].includes(field.kind);
  const label = isList ? FieldDescriptorProto_Label.REPEATED : FieldDescriptorProto_Label.OPTIONAL;
  const common = { name, jsonName: name, number: field.number, label };
  switch (field.kind) {
    case "strings":
      return create(FieldDescriptorProtoSchema, { ...common, type: types.string });
    case "labels":
    case "nested":
    case "nested-list": {
      const typeName = `${path}.${nestedNameOf(name)}`;
      return create(FieldDescriptorProtoSchema, { ...common, type: FieldDescriptorProto_Type.MESSAGE, typeName });
    }
    default:
      return create(FieldDescriptorProtoSchema, { ...common, type: types[field.kind] });
  }
}

/** protobuf wants an entry's message named so after its map. */
function nestedNameOf(field: string): string {
  return `${field.slice(0, 1).toUpperCase()}${field.slice(1)}Entry`;
}
