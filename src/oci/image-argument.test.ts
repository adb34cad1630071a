import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseImageArgument } from "./image-argument.ts";

const digest = `sha256:${"ab".repeat(32)}` as const;

describe("parseImageArgument", () => {
  for (const [text, expected] of [
    ["nginx", { kind: "registry", reference: { host: "docker.io", repository: "library/nginx", tag: "latest" } }],
    ["oci:/a/b", { kind: "oci", path: "/a/b" }],
    ["oci:a:1.2", { kind: "oci", path: "a", tag: "1.2" }],
    ["oci:a:docker.io/library/nginx:1", { kind: "oci", path: "a", tag: "docker.io/library/nginx:1" }],
    [`oci:a@${digest}`, { kind: "oci", path: "a", digest }],
    ["oci:user@host", { kind: "oci", path: "user@host" }],
    ["oci-archive:x.tar", { kind: "oci-archive", path: "x.tar" }],
    ["oci-archive:x.tar:v1", { kind: "oci-archive", path: "x.tar", tag: "v1" }],
    ["docker-archive:x.tar", { kind: "docker-archive", path: "x.tar" }],
    [
      "docker-archive:x.tar:nginx:1",
      {
        kind: "docker-archive",
        path: "x.tar",
        reference: { host: "docker.io", repository: "library/nginx", tag: "1" },
      },
    ],
  ] as const) {
    test(text, () => assert.deepEqual(parseImageArgument(text), expected));
  }
  for (const text of ["oci:", "oci::a", "oci:a:", "oci:a@sha256:12", "oci-archive:", "docker-archive:"]) {
    test(`refuses ${text}`, () => assert.throws(() => parseImageArgument(text), { code: "invalid-argument" }));
  }
  test("refuses a bad reference inside docker-archive", () => {
    assert.throws(() => parseImageArgument("docker-archive:x.tar:Nginx"), { code: "invalid-reference" });
  });
});
