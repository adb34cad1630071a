import assert from "node:assert/strict";
import { test } from "node:test";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { listImages } from "./listed-images.ts";

const digest = `sha256:${"a".repeat(64)}`;

test("of two sets that disagree on one image, gate is or, the highest priority and the shortest interval count", () => {
  const { images } = listImages(
    [
      imageSet("a", { images: [{ ref: "nginx", gate: false, priority: 3, refresh: { interval: "1h" } }] }),
      imageSet("b", {
        images: [{ ref: "docker.io/library/nginx:latest", priority: -1, refresh: { interval: "30s" } }],
      }),
    ],
    {},
  );
  assert.deepEqual(
    images.map(({ name, gate, priority, refresh, sets }) => ({ name, gate, priority, refresh, sets })),
    [{ name: "docker.io/library/nginx:latest", gate: true, priority: 3, refresh: 30_000, sets: ["a", "b"] }],
  );
});

test("an image is never asked for again only when all sets say so", () => {
  const never = { ref: "nginx", refresh: "Never" } as const;
  const one = imageSet("one", { images: [never] });
  const two = imageSet("two", { images: [never] });
  const often = imageSet("often", { images: [{ ref: "nginx", refresh: { interval: "1m" } }] });
  assert.equal(listImages([one, two], {}).images[0]?.refresh, "Never");
  assert.equal(listImages([one, often], {}).images[0]?.refresh, 60_000);
});

test("a digest is never asked for, whatever the interval, and its tag does not count", () => {
  const { images } = listImages([imageSet("a", { images: [{ ref: `nginx:1@${digest}` }] })], {});
  assert.equal(images[0]?.refresh, "Never");
  assert.equal(images[0]?.name, `docker.io/library/nginx@${digest}`);
});

test("gated images come first, then by priority, then as listed", () => {
  const { images } = listImages(
    [
      imageSet("a", {
        images: [
          { ref: "last", gate: false },
          { ref: "urgent", gate: false, priority: 5 },
          { ref: "gated-1", priority: -5 },
          { ref: "gated-2", priority: -5 },
        ],
      }),
    ],
    {},
  );
  assert.deepEqual(
    images.map(({ reference }) => reference.repository),
    ["library/gated-1", "library/gated-2", "library/urgent", "library/last"],
  );
});

test("a set for other nodes lists nothing here, and says so", () => {
  const sets = [
    imageSet("gpu", { images: [{ ref: "llm" }], nodeSelector: { matchLabels: { pool: "gpu" } } }),
    imageSet("not-gpu", {
      images: [{ ref: "web" }],
      nodeSelector: { matchExpressions: [{ key: "pool", operator: "NotIn", values: ["gpu"] }] },
    }),
    imageSet("pooled", {
      images: [{ ref: "any" }],
      nodeSelector: { matchExpressions: [{ key: "pool", operator: "Exists" }] },
    }),
    imageSet("unpooled", {
      images: [{ ref: "none" }],
      nodeSelector: { matchExpressions: [{ key: "pool", operator: "DoesNotExist" }] },
    }),
    imageSet("some", {
      images: [{ ref: "some" }],
      nodeSelector: { matchExpressions: [{ key: "pool", operator: "In", values: ["a", "gpu"] }] },
    }),
  ];
  const selected = (labels: Record<string, string>) =>
    listImages(sets, labels).sets.flatMap(({ name, isSelected }) => (isSelected ? [name] : []));
  assert.deepEqual(selected({ pool: "gpu" }), ["gpu", "pooled", "some"]);
  assert.deepEqual(selected({}), ["not-gpu", "unpooled"]);
  assert.deepEqual(
    listImages(sets, {}).images.map(({ reference }) => reference.repository),
    ["library/web", "library/none"],
  );
});

test("what only a cluster can do is a condition of the set, and its images count all the same", () => {
  const { images, sets } = listImages(
    [
      imageSet("a", {
        images: [{ ref: "web" }],
        pullSecrets: ["key"],
        disks: ["registry.example/disk:1"],
        discover: { namespaces: ["default"] },
      }),
    ],
    {},
  );
  assert.equal(images.length, 1);
  assert.deepEqual(
    sets[0]?.conditions.map(({ type, message }) => [type, message.split(" ")[0]]),
    [
      ["Unsupported", "spec.pullSecrets"],
      ["Unsupported", "spec.disks"],
      ["Unsupported", "spec.discover"],
    ],
  );
});

test("a set keeps its own limits and its own gate", () => {
  const { sets } = listImages(
    [
      imageSet("a", {
        images: [{ ref: "web" }, { ref: "db", gate: false }],
        gateTimeout: "1m",
        onTimeout: "Closed",
        bandwidth: "5M",
        parallelism: 2,
      }),
    ],
    {},
  );
  const [{ gated, gateTimeoutMs, onTimeout, bytesPerSecond, parallelism } = assert.fail()] = sets;
  assert.deepEqual(
    { gated, gateTimeoutMs, onTimeout, bytesPerSecond, parallelism },
    {
      gated: ["docker.io/library/web:latest"],
      gateTimeoutMs: 60_000,
      onTimeout: "Closed",
      bytesPerSecond: 5e6,
      parallelism: 2,
    },
  );
});
