import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bySpecificity, isImagePattern, matchesImage } from "./image-glob.ts";

test("patterns match images as kubelet's do", () => {
  for (const [pattern, image, expected] of [
    ["123456789.dkr.ecr.us-east-1.amazonaws.com", "123456789.dkr.ecr.us-east-1.amazonaws.com/app", true],
    ["*.dkr.ecr.*.amazonaws.com", "123456789.dkr.ecr.us-east-1.amazonaws.com/app", true],
    ["*.azurecr.io", "team.azurecr.io/app", true],
    ["*.azurecr.io", "a.b.azurecr.io/app", false],
    ["*.io", "a.k8s.io/x", false],
    ["k8s.*", "k8s.io/x", true],
    ["app*.k8s.io", "app1.k8s.io/x", true],
    ["app?.k8s.io", "app12.k8s.io/x", false],
    ["app[0-9].k8s.io", "app1.k8s.io/x", true],
    ["app[^0-9].k8s.io", "app1.k8s.io/x", false],
    ["registry.io:8080/path", "registry.io:8080/path/app", true],
    ["registry.io:8080/path", "registry.io:8080/pathology", true],
    ["registry.io:8080/path/", "registry.io:8080/pathology", false],
    ["registry.io", "registry.io:8080/path", false],
    ["registry.io:8080", "registry.io/path", false],
    ["registry.io:*", "registry.io:8080/path", false],
    ["registry.io/*", "registry.io/path", false],
    ["gcr.io/other", "gcr.io/path", false],
    ["REGISTRY.io", "registry.io/x", false],
    ["a.b*c.io", "a.bxxc.io/x", true],
    ["[::1]:5000", "[::1]:5000/app", true],
  ] as const) {
    assert.equal(matchesImage(pattern, image), expected, `${pattern} ${image}`);
  }
});

test("what can be no pattern is known", () => {
  for (const pattern of ["", "a b", "[a.io", "a\\", ":5000", "a:b:c"])
    assert.equal(isImagePattern(pattern), false, pattern);
  for (const pattern of ["*.io", "gcr.io/x", "a:5000"]) assert.equal(isImagePattern(pattern), true, pattern);
});

test("longer keys come first, and those without globs", () => {
  const keys = ["*.io", "gcr.io", "gcr.io/team", "gcr.io/team/app", "g*.io"];
  assert.deepEqual(keys.sort(bySpecificity), ["gcr.io/team/app", "gcr.io/team", "gcr.io", "g*.io", "*.io"]);
});

test("no glob takes long", () => {
  const started = performance.now();
  assert.equal(matchesImage(`${"*a".repeat(500)}b`, "a".repeat(2000)), false);
  assert.ok(performance.now() - started < 10_000);
});

test("any text is a pattern or none", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (pattern, image) => {
      assert.equal(typeof matchesImage(pattern, image), "boolean");
      if (!isImagePattern(pattern)) assert.equal(matchesImage(pattern, "*".repeat(40)), false);
    }),
  );
});
