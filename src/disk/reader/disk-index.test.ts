import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDiskIndex } from "./disk-index.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const descriptor = { mediaType: "application/x", digest: digest("1"), size: 3 };
const index = {
  formatVersion: "1.0",
  id: "a".repeat(64),
  line: "base",
  sequence: 4,
  created: "2024-01-02T03:04:05Z",
  builder: "nodewarm/0.1.0",
  platform: { os: "linux", architecture: "arm64", variant: "v8" },
  blobs: false,
  erofsCache: true,
  images: [
    {
      names: ["docker.io/library/a:1"],
      target: descriptor,
      manifest: descriptor,
      config: descriptor,
      platform: { os: "linux", architecture: "arm64" },
      tree: `layers/${"2".repeat(64)}`,
      layers: [
        {
          diffID: digest("2"),
          chainID: digest("2"),
          mediaType: "application/y",
          digest: digest("3"),
          size: 10,
          tree: `layers/${"2".repeat(64)}`,
          impliedDirectories: [1, 5],
        },
      ],
    },
  ],
};

const parse = (value: unknown) => parseDiskIndex(Buffer.from(JSON.stringify(value)), "disk.erofs");

describe("the index of a disk", () => {
  it("is read as it is written", () => {
    assert.deepEqual(parse(index), index);
  });

  it("may have fields of later minor versions, which are left out", () => {
    assert.deepEqual(parse({ ...index, formatVersion: "1.7", later: true }), { ...index, formatVersion: "1.7" });
  });

  it("is refused by name when its major version is another", () => {
    for (const formatVersion of ["2.0", "0.9", "10.0"]) {
      assert.throws(() => parse({ formatVersion }), { code: "unknown-version", message: new RegExp(formatVersion) });
    }
  });

  const refusals: [string, unknown][] = [
    ["no object", []],
    ["no version", { ...index, formatVersion: undefined }],
    ["a version that is none", { ...index, formatVersion: "one" }],
    ["an id that is too short", { ...index, id: "abc" }],
    ["a negative sequence", { ...index, sequence: -1 }],
    ["a time with a fraction", { ...index, created: "2024-01-02T03:04:05.5Z" }],
    [
      "a digest of another algorithm",
      { ...index, images: [{ ...index.images[0], target: { ...descriptor, digest: "md5:1" } }] },
    ],
    ["a tree that leads elsewhere", { ...index, images: [{ ...index.images[0], tree: "../etc" }] }],
  ];
  for (const [what, value] of refusals) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => parse(value), {
        name: "DiskError",
        code: "corrupt",
        message: /^disk\.erofs: \/nodewarm\.json/,
      });
    });
  }

  it("is refused when it is not JSON or not UTF-8", () => {
    for (const bytes of ["{", Buffer.from([0x22, 0xff, 0x22])]) {
      assert.throws(() => parseDiskIndex(Buffer.from(bytes), "disk.erofs"), {
        code: "corrupt",
        message: /is not JSON/,
      });
    }
  });
});
