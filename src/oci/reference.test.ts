import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { OciError } from "./oci-error.ts";
import { formatReference, imageName, parseReference } from "./reference.ts";

const hex = "0123456789abcdef".repeat(4);

describe("parseReference", () => {
  const normalised: [string, string][] = [
    ["nginx", "docker.io/library/nginx:latest"],
    ["nginx:1.25", "docker.io/library/nginx:1.25"],
    ["bitnami/redis", "docker.io/bitnami/redis:latest"],
    ["docker.io/nginx", "docker.io/library/nginx:latest"],
    ["index.docker.io/nginx", "docker.io/library/nginx:latest"],
    ["index.docker.io/a/b:c", "docker.io/a/b:c"],
    ["localhost/a", "localhost/a:latest"],
    ["localhost:5000/a:b", "localhost:5000/a:b"],
    ["127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"],
    ["[::1]:5000/a:b", "[::1]:5000/a:b"],
    ["[fd00::1]/a", "[fd00::1]/a:latest"],
    ["Registry/a", "Registry/a:latest"],
    ["myhost.com:80/a/b/c__d/e---f:T_a.g-1", "myhost.com:80/a/b/c__d/e---f:T_a.g-1"],
    [`nginx@sha256:${hex}`, `docker.io/library/nginx@sha256:${hex}`],
    [`nginx:1.25@sha256:${hex}`, `docker.io/library/nginx:1.25@sha256:${hex}`],
    [`ghcr.io/a/b@sha256:${hex}`, `ghcr.io/a/b@sha256:${hex}`],
    [`a/${"b".repeat(253)}`, `docker.io/a/${"b".repeat(253)}:latest`],
    [`a:${"t".repeat(128)}`, `docker.io/library/a:${"t".repeat(128)}`],
  ];
  for (const [text, expected] of normalised) {
    test(`${text.slice(0, 60)} is ${expected.slice(0, 60)}`, () => {
      assert.equal(formatReference(parseReference(text)), expected);
    });
  }

  const refused = [
    "",
    " ",
    hex,
    "Nginx",
    "nginx:",
    "nginx:-a",
    "nginx: a",
    "nginx@",
    "nginx@sha256:abc",
    `nginx@sha256:${hex.toUpperCase()}`,
    `nginx@sha512:${hex}${hex}`,
    `nginx@sha256:${hex}@sha256:${hex}`,
    "https://docker.io/nginx",
    "docker.io/",
    "docker.io//a",
    "a//b",
    "/a",
    "a/",
    "a_/b",
    "a..b/c/d",
    "a.-b",
    "a___b",
    "-a/b",
    "docker.io/A/b",
    "[::1/a",
    "[::g]/a",
    "host:port/a",
    "ho_st.com/a",
    ".com/a",
    "a/../b",
    `nginx:${"t".repeat(129)}`,
    `a/${"b".repeat(254)}`,
    "nginx\n",
    "nginx\0",
    "näh.com/a",
    "a".repeat(100_000),
  ];
  for (const text of refused) {
    test(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => {
      assert.throws(
        () => parseReference(text),
        (error) => error instanceof OciError && error.code === "invalid-reference" && error.message.length < 1000,
      );
    });
  }

  const component = fc.stringMatching(/^[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
  const reference = fc.record(
    {
      host: fc.oneof(
        fc.stringMatching(/^[a-zA-Z0-9]{1,8}(-[a-z0-9]{1,4})?\.[a-z]{2,6}(:[0-9]{1,5})?$/),
        fc.stringMatching(/^\[[0-9a-f]{0,4}:[0-9a-f:]{0,16}\](:[0-9]{1,5})?$/),
        fc.constantFrom("localhost", "localhost:5000"),
      ),
      repository: fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/")),
      tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/),
      digest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/).map((text) => text as `sha256:${string}`),
    },
    { requiredKeys: ["host", "repository"], noNullPrototype: true },
  );

  test("gives back every normalised reference as it was", () => {
    fc.assert(
      fc.property(reference, (parts) => {
        const full = parts.tag === undefined && parts.digest === undefined ? { ...parts, tag: "latest" } : parts;
        assert.deepEqual(parseReference(formatReference(full)), full);
      }),
    );
  });

  test("either refuses a text or gives a form that it parses to the same", () => {
    const noise = fc.array(fc.constantFrom(..."aZ09._-:/@[] ", "sha256:", hex, "docker.io", "localhost"), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(noise, (parts) => {
        let first: string;
        try {
          first = formatReference(parseReference(parts.join("")));
        } catch (error) {
          assert.ok(error instanceof OciError);
          return;
        }
        assert.equal(formatReference(parseReference(first)), first);
      }),
      { numRuns: 2000 },
    );
  });
});

test("a name with tag and digest is looked for by digest, as containerd does", () => {
  assert.equal(imageName(parseReference(`nginx:1@sha256:${hex}`)), `docker.io/library/nginx@sha256:${hex}`);
  assert.equal(imageName(parseReference("nginx:1")), "docker.io/library/nginx:1");
});
