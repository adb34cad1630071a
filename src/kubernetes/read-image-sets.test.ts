import assert from "node:assert/strict";
import { test } from "node:test";
import { KubernetesError } from "./kubernetes-error.ts";
import { readImageSets } from "./read-image-sets.ts";

const head = "apiVersion: nodewarm.io/v1alpha1\nkind: ImageSet\nmetadata: {name: web}\n";

function messageOf(text: string): string {
  try {
    readImageSets(text, "sets.yaml");
  } catch (error) {
    assert.ok(error instanceof KubernetesError, String(error));
    return error.message;
  }
  return assert.fail("was accepted");
}

test("a short set gets every default", () => {
  const [set] = readImageSets(`${head}spec:\n  images:\n  - ref: nginx:1.29\n`, "sets.yaml");
  assert.deepEqual(set, {
    apiVersion: "nodewarm.io/v1alpha1",
    kind: "ImageSet",
    metadata: { name: "web", labels: {}, annotations: {} },
    spec: {
      images: [{ ref: "nginx:1.29", refresh: { interval: "5m" }, gate: true, priority: 0 }],
      nodeSelector: { matchLabels: {}, matchExpressions: [] },
      gateTimeout: "10m",
      onTimeout: "Open",
      pullSecrets: [],
      parallelism: 3,
      disks: [],
    },
  });
});

test("a document nested too deeply to be read is refused", () => {
  assert.equal(messageOf("[".repeat(20_000)), "sets.yaml: nested too deeply");
});

test("every field is read", () => {
  const text = `
apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata:
  name: inference
  labels: {team: ml}
  annotations: {note: "anything at all"}
spec:
  images:
  - {ref: registry.example/llm@sha256:${"a".repeat(64)}, refresh: Never, gate: true, priority: 10}
  - {ref: nginx, refresh: {interval: 1h30m}}
  nodeSelector:
    matchLabels: {example.com/pool: gpu}
    matchExpressions:
    - {key: arch, operator: In, values: [amd64]}
    - {key: spot, operator: DoesNotExist}
  gateTimeout: 90s
  onTimeout: Closed
  pullSecrets: [registry-key]
  parallelism: 8
  bandwidth: 64Mi
  disks: [registry.example/disks/llm:7]
  discover: {namespaces: [ml]}
`;
  const [set] = readImageSets(text, "sets.yaml");
  assert.deepEqual(
    set.spec.images.map(({ refresh }) => refresh),
    ["Never", { interval: "1h30m" }],
  );
  assert.equal(set.spec.onTimeout, "Closed");
  assert.deepEqual(set.spec.discover, { namespaces: ["ml"] });
  assert.deepEqual(set.spec.nodeSelector.matchExpressions[1], { key: "spot", operator: "DoesNotExist", values: [] });
});

test("several documents of one file come in their order, empty ones are skipped", () => {
  const text = `---\n${head}spec: {}\n---\n---\n# only a comment\n---\n${head.replace("web", "db")}spec: {}\n`;
  assert.deepEqual(
    readImageSets(text, "sets.yaml").map(({ metadata }) => metadata.name),
    ["web", "db"],
  );
});

test("JSON is read too", () => {
  const text = JSON.stringify({
    apiVersion: "nodewarm.io/v1alpha1",
    kind: "ImageSet",
    metadata: { name: "j" },
    spec: {},
  });
  assert.equal(readImageSets(text, "set.json")[0].metadata.name, "j");
});

test("the same image may be written once and referred to by an alias", () => {
  const [set] = readImageSets(`${head}spec:\n  images:\n  - &first {ref: nginx}\n  - *first\n`, "sets.yaml");
  assert.deepEqual(
    set.spec.images.map(({ ref }) => ref),
    ["nginx", "nginx"],
  );
});

const refusals: readonly (readonly [name: string, text: string, message: string])[] = [
  [
    "an unknown field",
    `${head}spec:\n  images:\n  - ref: a\n    refs: b\n`,
    "sets.yaml:7:5: spec.images[0].refs: unknown field",
  ],
  ["an unknown field at the top", `${head}spec: {}\nstatus: {}\n`, "sets.yaml:5:1: status: unknown field"],
  ["a missing ref", `${head}spec:\n  images:\n  - gate: true\n`, "sets.yaml:6:5: spec.images[0].ref: is missing"],
  ["no spec", head, "sets.yaml:1:1: spec: is missing"],
  [
    "another kind",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n",
    "sets.yaml:2:1: kind: must be ImageSet",
  ],
  ["a wrong type", `${head}spec:\n  images: nginx\n`, "sets.yaml:5:3: spec.images: must be a list"],
  ["a ref that is no text", `${head}spec: {images: [{ref: 7}]}\n`, "spec.images[0].ref: must be a string"],
  ["a ref with a space", `${head}spec: {images: [{ref: "a b"}]}\n`, "is no repository name"],
  ["a local source", `${head}spec: {images: [{ref: "oci:dir"}]}\n`, "give layouts and archives on the command line"],
  ["a wrong duration", `${head}spec: {gateTimeout: 5 minutes}\n`, "spec.gateTimeout: must be a duration"],
  [
    "an interval that is too short",
    `${head}spec: {images: [{ref: a, refresh: {interval: 9s}}]}\n`,
    "must be at least 10s",
  ],
  ["a wrong refresh", `${head}spec: {images: [{ref: a, refresh: Always}]}\n`, '"Never" or {interval: DURATION}'],
  ["a wrong choice", `${head}spec: {onTimeout: Maybe}\n`, "spec.onTimeout: must be one of Open, Closed"],
  ["half a number", `${head}spec: {parallelism: 1.5}\n`, "spec.parallelism: must be a whole number"],
  ["a parallelism of 0", `${head}spec: {parallelism: 0}\n`, "spec.parallelism: "],
  ["a wrong name", `${head.replace("web", "Web_1")}spec: {}\n`, "metadata.name: must be lower-case"],
  [
    "In without values",
    `${head}spec: {nodeSelector: {matchExpressions: [{key: a, operator: In}]}}\n`,
    "at least one value",
  ],
  [
    "a wrong label",
    `${head}spec: {nodeSelector: {matchLabels: {a: "b c"}}}\n`,
    "spec.nodeSelector.matchLabels.a: must be a label value",
  ],
  ["a list instead of a document", "- a\n", "sets.yaml:1:1: must be a mapping"],
  ["a key given twice", `${head}spec: {}\nspec: {}\n`, "sets.yaml:5:1: Map keys must be unique"],
  ["broken YAML", "a: [1\nb: {", "sets.yaml:"],
  ["a tab as indent", "a:\n\tb: 1\n", "sets.yaml:2:1: "],
  ["an empty file", "", "no ImageSet in it"],
  ["more than 8 MiB", `#${"x".repeat(9 << 20)}`, "larger than 8 MiB"],
  [
    "aliases that multiply",
    `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [${"*a,".repeat(20)}]\nc: &c [${"*b,".repeat(20)}]\nd: [${"*c,".repeat(20)}]\n`,
    "alias",
  ],
];

for (const [name, text, message] of refusals) {
  test(`refuses ${name}`, () => {
    const actual = messageOf(text);
    assert.ok(actual.includes(message), actual);
  });
}

test("all problems of a file are told at once, up to twenty", () => {
  const images = Array.from({ length: 30 }, (_, index) => `  - {ref: "bad ${index}"}`).join("\n");
  const message = messageOf(`${head}spec:\n  images:\n${images}\n`);
  assert.equal(message.split("\n").length, 21);
  assert.match(message, /^sets\.yaml:6:6: spec\.images\[0\]\.ref: .*\n/);
  assert.match(message, /and 10 more$/);
});

test("a key that is a list is a problem of the file, and no warning of the process", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => void warnings.push(warning);
  process.on("warning", note);
  assert.match(messageOf(`${head}spec: { images: [], ? [a, b] : c }\n`), /^sets\.yaml:4:\d+: spec/);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", note);
  assert.deepEqual(warnings, []);
});
