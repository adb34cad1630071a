import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** 64-bit numbers are read as `number`: sizes, offsets and seconds stay far below 2^53, and what does not is refused. */
type Scalars = {
  string: string;
  bytes: Uint8Array;
  bool: boolean;
  int32: number;
  uint32: number;
  int64: number;
  uint64: number;
};
export type ScalarKind = keyof Scalars;

type ScalarField<Kind extends ScalarKind> = { readonly number: number; readonly kind: Kind };
type StringsField = { readonly number: number; readonly kind: "strings" };
type LabelsField = { readonly number: number; readonly kind: "labels" };
type NestedField<S extends Schema> = { readonly number: number; readonly kind: "nested"; readonly schema: S };
type NestedListField<S extends Schema> = { readonly number: number; readonly kind: "nested-list"; readonly schema: S };

export type Field =
  | { [Kind in ScalarKind]: ScalarField<Kind> }[ScalarKind]
  | StringsField
  | LabelsField
  | NestedField<Schema>
  | NestedListField<Schema>;

/** The fields of a proto3 message that are used here, by name. Others are skipped. */
export type Schema = { readonly [name: string]: Field };

type DecodedField<F> =
  F extends ScalarField<infer Kind>
    ? Scalars[Kind]
    : F extends StringsField
      ? readonly string[]
      : F extends LabelsField
        ? Readonly<Record<string, string>>
        : F extends NestedField<infer S>
          ? Decoded<S> | undefined
          : F extends NestedListField<infer S>
            ? readonly Decoded<S>[]
            : never;

type EncodableField<F> =
  F extends NestedField<infer S>
    ? Encodable<S>
    : F extends NestedListField<infer S>
      ? readonly Encodable<S>[]
      : DecodedField<F>;

/** What decoding gives: every field is there; absent messages are `undefined`, all else absent is its proto3 default. */
export type Decoded<S extends Schema> = { readonly [Name in keyof S]: DecodedField<S[Name]> };

/** What encoding takes: fields left out, and proto3 defaults, are not sent. */
export type Encodable<S extends Schema> = { readonly [Name in keyof S]?: EncodableField<S[Name]> | undefined };

export const string = (number: number): ScalarField<"string"> => ({ number, kind: "string" });
export const bytes = (number: number): ScalarField<"bytes"> => ({ number, kind: "bytes" });
export const bool = (number: number): ScalarField<"bool"> => ({ number, kind: "bool" });
/** Enums too. */
export const int32 = (number: number): ScalarField<"int32"> => ({ number, kind: "int32" });
export const uint32 = (number: number): ScalarField<"uint32"> => ({ number, kind: "uint32" });
export const int64 = (number: number): ScalarField<"int64"> => ({ number, kind: "int64" });
export const uint64 = (number: number): ScalarField<"uint64"> => ({ number, kind: "uint64" });
/** `repeated string`. */
export const strings = (number: number): StringsField => ({ number, kind: "strings" });
/** `map<string, string>`. */
export const labels = (number: number): LabelsField => ({ number, kind: "labels" });

export function nested<const S extends Schema>(number: number, schema: S): NestedField<S> {
  return { number, kind: "nested", schema };
}

export function nestedList<const S extends Schema>(number: number, schema: S): NestedListField<S> {
  return { number, kind: "nested-list", schema };
}

/** A map's entry is a message of two fields (protobuf encoding, "Maps"). */
const entry = { key: string(1), value: string(2) };

/** A message in the binary protobuf encoding. Throws when a number does not fit its field. */
export function encode<S extends Schema>(schema: S, message: Encodable<S>): Uint8Array {
  return writeMessage(new BinaryWriter(), schema, message).finish();
}

function writeMessage(writer: BinaryWriter, schema: Schema, message: Encodable<Schema>): BinaryWriter {
  for (const [name, field] of Object.entries(schema)) {
    // Encodable<Schema> says nothing about which value belongs to which kind; callers were checked against their schema.
    const value: unknown = message[name];
    if (value !== undefined) writeField(writer, field, value as never);
  }
  return writer;
}

function writeField(writer: BinaryWriter, field: Field, value: never): void {
  switch (field.kind) {
    case "strings":
      for (const item of value as readonly string[]) writer.tag(field.number, WireType.LengthDelimited).string(item);
      return;
    case "labels":
      for (const [key, item] of Object.entries<string>(value)) {
        writeNested(writer, field.number, entry, { key, value: item });
      }
      return;
    case "nested":
      writeNested(writer, field.number, field.schema, value);
      return;
    case "nested-list":
      for (const item of value as readonly Encodable<Schema>[]) writeNested(writer, field.number, field.schema, item);
      return;
    default:
      if (!isDefault(value)) writeScalar(writer, field.number, field.kind, value);
  }
}

function writeNested(writer: BinaryWriter, number: number, schema: Schema, message: Encodable<Schema>): void {
  writeMessage(writer.tag(number, WireType.LengthDelimited).fork(), schema, message).join();
}

function isDefault(value: Scalars[ScalarKind]): boolean {
  return typeof value === "object" ? value.length === 0 : !value;
}

function writeScalar(writer: BinaryWriter, number: number, kind: ScalarKind, value: never): void {
  writer.tag(number, wireTypeOf(kind));
  // The method of each kind has the kind's name.
  writer[kind](value);
}

function wireTypeOf(kind: ScalarKind): WireType {
  return kind === "string" || kind === "bytes" ? WireType.LengthDelimited : WireType.Varint;
}

/**
 * Reads a message. Fields that the schema does not know are skipped, also those of another wire type. Throws on bytes that
 * are no message, and on 64-bit numbers that a `number` cannot hold.
 */
export function decode<S extends Schema>(schema: S, encoded: Uint8Array): Decoded<S> {
  const names = namesOf(schema);
  const message: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(schema)) message[name] = initialValue(field);
  const maps = new Map<string, [string, string][]>();
  const reader = new BinaryReader(encoded);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const name = names.get(number);
    const field = name === undefined ? undefined : schema[name];
    if (name === undefined || field === undefined || wireType !== wireTypeOfField(field)) {
      reader.skip(wireType, number);
    } else if (field.kind === "labels") {
      const { key, value } = decode(entry, reader.bytes());
      const entries = maps.get(name);
      if (entries === undefined) maps.set(name, [[key, value]]);
      else entries.push([key, value]);
    } else {
      message[name] = readField(reader, field, message[name]);
    }
  }
  // Assignment would lose a key such as `__proto__`.
  for (const [name, entries] of maps) message[name] = Object.fromEntries(entries);
  // Each field was set by its kind: what the type says.
  return message as Decoded<S>;
}

function readField(reader: BinaryReader, field: Exclude<Field, LabelsField>, before: unknown): unknown {
  switch (field.kind) {
    case "strings":
      return append(before, reader.string());
    case "nested":
      return decode(field.schema, reader.bytes());
    case "nested-list":
      return append(before, decode(field.schema, reader.bytes()));
    case "int64":
    case "uint64":
      return safeNumber(reader[field.kind](), field.number);
    default:
      return reader[field.kind]();
  }
}

function append(list: unknown, item: unknown): unknown[] {
  if (!Array.isArray(list)) return [item];
  list.push(item);
  return list;
}

function safeNumber(value: bigint | string, fieldNumber: number): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`field ${fieldNumber} holds ${value}, which is out of range`);
  return number;
}

function wireTypeOfField(field: Field): WireType {
  switch (field.kind) {
    case "strings":
    case "labels":
    case "nested":
    case "nested-list":
      return WireType.LengthDelimited;
    default:
      return wireTypeOf(field.kind);
  }
}

function initialValue(field: Field): unknown {
  switch (field.kind) {
    case "string":
      return "";
    case "bytes":
      return new Uint8Array();
    case "bool":
      return false;
    case "strings":
    case "nested-list":
      return [];
    case "labels":
      return {};
    case "nested":
      return undefined;
    default:
      return 0;
  }
}

const knownNames = new WeakMap<Schema, ReadonlyMap<number, string>>();

function namesOf(schema: Schema): ReadonlyMap<number, string> {
  const known = knownNames.get(schema);
  if (known !== undefined) return known;
  const names = new Map(Object.entries(schema).map(([name, field]) => [field.number, name]));
  knownNames.set(schema, names);
  return names;
}
