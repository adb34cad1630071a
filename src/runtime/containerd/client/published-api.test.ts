import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { findProgram, needsProgram } from "../../../../test/support/privileges.ts";
import { run } from "../../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { Method } from "./channel.ts";
import { containerMethods } from "./containers.ts";
import { contentMethods } from "./content-messages.ts";
import { criContainerMethods } from "./cri/cri-containers.ts";
import { criImageMethods } from "./cri/cri-images.ts";
import { criPodMethods } from "./cri/cri-pods.ts";
import { criRuntimeMethods } from "./cri/cri-runtime.ts";
import { diffMethods } from "./diffs.ts";
import { eventMethods } from "./events.ts";
import { imageMethods } from "./images.ts";
import { introspectionMethods } from "./introspection.ts";
import { leaseMethods } from "./leases.ts";
import type { Field, Schema } from "./message.ts";
import { namespaceMethods } from "./namespaces.ts";
import { snapshotMethods } from "./snapshot-messages.ts";
import { versionMethods } from "./version.ts";

/** Names, numbers and types of all fields, compared with the `.proto` files that containerd and Kubernetes publish. */

const modules = ["github.com/containerd/containerd/api@v1.12.0", "k8s.io/cri-api@v0.37.0"];

const methods: Record<string, Method<Schema, Schema>>[] = [
  containerMethods,
  contentMethods,
  criContainerMethods,
  criImageMethods,
  criPodMethods,
  criRuntimeMethods,
  diffMethods,
  eventMethods,
  imageMethods,
  introspectionMethods,
  leaseMethods,
  namespaceMethods,
  snapshotMethods,
  versionMethods,
];

type PublishedField = { readonly number: number; readonly type: string };
type Published = {
  /** By `package.Message`, then by field in camel case. Types as written, with `repeated` before them. */
  readonly messages: Map<string, Map<string, PublishedField>>;
  readonly enums: Map<string, true>;
  /** Request and response types by `package.Service/Method`. */
  readonly calls: Map<string, readonly [string, string]>;
};

const wellKnown: Record<string, Readonly<Record<string, number>>> = {
  "google.protobuf.Any": { typeUrl: 1, value: 2 },
  "google.protobuf.Empty": {},
  "google.protobuf.FieldMask": { paths: 1 },
  "google.protobuf.Timestamp": { seconds: 1, nanos: 2 },
  "google.rpc.Status": { code: 1, message: 2 },
};

test("every method and field is one that containerd and Kubernetes publish", {
  skip: needsProgram("go"),
}, async (context) => {
  const files = await protoFiles().catch((error: Error) => error);
  if (files instanceof Error) return context.skip(`the published files cannot be had: ${files.message}`);
  const published: Published = { messages: new Map(), enums: new Map(), calls: new Map() };
  for (const path of files) readProto(await readFile(path, "utf8"), published);
  let compared = 0;
  for (const { name, request, response } of methods.flatMap((group) => Object.values(group))) {
    const types = published.calls.get(name);
    assert.ok(types, `there is no method ${name}`);
    const namespace = name.slice(0, name.lastIndexOf("."));
    compared += compare(published, namespace, types[0], request);
    compared += compare(published, namespace, types[1], response);
  }
  assert.ok(compared > 250, `only ${compared} fields were compared`);
});

/** Compares the fields of a schema with those of the message; how many they were. */
function compare(published: Published, namespace: string, type: string, schema: Schema): number {
  const [name, known] = find(published.messages, namespace, type);
  const numbers = wellKnown[type];
  if (numbers !== undefined) {
    for (const [key, { number }] of Object.entries(schema)) assert.equal(number, numbers[key], `${type}.${key}`);
    return Object.keys(schema).length;
  }
  assert.ok(known, `there is no message ${type} in ${namespace}`);
  const home = name.slice(0, name.lastIndexOf("."));
  let compared = 0;
  for (const [key, field] of Object.entries(schema)) {
    const place = `${name}.${key}`;
    const fact = known.get(key);
    assert.ok(fact, `there is no field ${place}`);
    assert.equal(field.number, fact.number, `number of ${place}`);
    const isEnum: boolean = find(published.enums, home, fact.type)[1] !== undefined;
    // The CRI turned the values of variables from strings into bytes, which is the same on the wire.
    const expected: string = isEnum ? "int32" : place === "runtime.v1.KeyValue.value" ? "string" : fact.type;
    assert.equal(typeOf(field, fact.type), expected, `type of ${place}`);
    compared++;
    if (field.kind === "nested" || field.kind === "nested-list") {
      compared += compare(published, home, fact.type.replace("repeated ", ""), field.schema);
    }
  }
  return compared;
}

/** The type of our field as a `.proto` file writes it; for messages, the name is that of the other side. */
function typeOf(field: Field, theirs: string): string {
  const messageName = /^(repeated )?(.*[.]?[A-Z]\w*)$/.exec(theirs)?.[2] ?? "a message";
  switch (field.kind) {
    case "strings":
      return "repeated string";
    case "labels":
      return "map<string, string>";
    case "nested":
      return messageName;
    case "nested-list":
      return `repeated ${messageName}`;
    default:
      return field.kind;
  }
}

/** Names are looked for in the package itself, then in those around it (protobuf language guide, "Name resolution"). */
function find<Value>(all: ReadonlyMap<string, Value>, namespace: string, type: string): [string, Value | undefined] {
  for (let scope = namespace; scope !== ""; scope = scope.slice(0, Math.max(0, scope.lastIndexOf(".")))) {
    if (all.has(`${scope}.${type}`)) return [`${scope}.${type}`, all.get(`${scope}.${type}`)];
  }
  return [type, all.get(type)];
}

/** Enough of the language for these files: messages, enums and services, messages within messages one level deep. */
function readProto(source: string, published: Published): void {
  const bare = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*/g, "");
  const text = bare.replace(/^(message \w+ ?\{)\s*\}/gm, "$1\n}");
  const namespace = /^package ([\w.]+);/m.exec(text)?.[1] ?? "";
  for (const [, name = ""] of text.matchAll(/\benum (\w+) \{/g)) published.enums.set(`${namespace}.${name}`, true);
  for (const [, service = "", body = ""] of text.matchAll(/^service (\w+) \{([\s\S]*?)^\}/gm)) {
    for (const [, name, request = "", response = ""] of body.matchAll(
      /rpc (\w+)\s*\((?:stream )?([\w.]+)\)\s*returns\s*\((?:stream )?([\w.]+)\)/g,
    )) {
      published.calls.set(`${namespace}.${service}/${name}`, [request, response]);
    }
  }
  for (const [, name, body = ""] of text.matchAll(/^message (\w+) ?\{([\s\S]*?)^\}/gm)) {
    const own = body.replace(/(message|enum) \w+ \{[\s\S]*?\}/g, "");
    const fields = new Map<string, PublishedField>();
    for (const [, type = "", field = "", number] of own.matchAll(
      /((?:repeated )?(?:map<\s*\w+,\s*[\w.]+>|[\w.]+))\s+(\w+)\s*=\s*(\d+)\s*[;[]/g,
    )) {
      fields.set(camelCase(field), { number: Number(number), type: type.replace(/,\s*/, ", ") });
    }
    published.messages.set(`${namespace}.${name}`, fields);
  }
}

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

async function protoFiles(): Promise<string[]> {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope, "api");
  const said = await run(findProgram("go") ?? "go", ["mod", "download", "-json", ...modules], { cwd });
  const folders = [...said.matchAll(/"Dir": "([^"]+)"/g)].map((match) => match[1] ?? "");
  assert.equal(folders.length, modules.length, said);
  return (await run("find", [...folders, "-name", "*.proto"])).trim().split("\n");
}
