import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatPlatform, hostPlatform, parsePlatform, platformFileName, platformRank } from "./platform.ts";

describe("parsePlatform", () => {
  for (const [text, expected] of [
    ["linux/amd64", "linux/amd64"],
    ["linux/amd64/v1", "linux/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["linux/x86_64", "linux/amd64"],
    ["linux/arm64", "linux/arm64/v8"],
    ["Linux/aarch64", "linux/arm64/v8"],
    ["linux/arm64/8", "linux/arm64/v8"],
    ["linux/arm64/v9", "linux/arm64/v9"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/6", "linux/arm/v6"],
    ["linux/armel", "linux/arm/v6"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/s390x", "linux/s390x"],
  ] as const) {
    test(`${text} is ${expected}`, () => assert.equal(formatPlatform(parsePlatform(text)), expected));
  }
  for (const text of ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/arm/", "linux /amd64"]) {
    test(`refuses ${JSON.stringify(text)}`, () =>
      assert.throws(() => parsePlatform(text), { code: "invalid-platform" }));
  }
});

test("platforms in file names always carry the variant of arm64", () => {
  assert.equal(platformFileName({ os: "linux", architecture: "arm64" }), "linux-arm64-v8");
  assert.equal(platformFileName({ os: "linux", architecture: "amd64" }), "linux-amd64");
});

test("the platform of this machine is a linux one by Go's names", () => {
  assert.match(
    formatPlatform(hostPlatform()),
    /^linux\/(amd64|arm64\/v8|386|arm\/v7|ppc64le|s390x|riscv64|loong64|mips\w*)$/,
  );
});

describe("platformRank", () => {
  const order = (wanted: string, offers: string[]) =>
    offers
      .map((offer) => ({ offer, rank: platformRank(parsePlatform(wanted), parsePlatform(offer)) }))
      .filter((each) => each.rank !== undefined)
      .sort((a, b) => Number(a.rank) - Number(b.rank))
      .map((each) => each.offer);

  test("takes lower variants in order, then the 32-bit architecture", () => {
    assert.deepEqual(
      order("linux/amd64/v3", ["linux/386", "linux/amd64", "linux/amd64/v4", "linux/amd64/v2", "linux/amd64/v3"]),
      ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
    );
    assert.deepEqual(
      order("linux/arm64", ["linux/arm/v5", "linux/arm/v7", "linux/arm64", "linux/arm64/v9", "linux/arm/v8"]),
      ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v5"],
    );
    assert.deepEqual(order("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5", "linux/arm/v6"]), [
      "linux/arm/v6",
      "linux/arm/v5",
    ]);
    assert.deepEqual(order("linux/arm64/v9", ["linux/arm64", "linux/arm64/v9"]), ["linux/arm64/v9", "linux/arm64"]);
  });

  test("never takes another system or family", () => {
    assert.deepEqual(order("linux/amd64", ["windows/amd64", "linux/arm64", "linux/s390x", "linux/amd64/v2"]), []);
  });
});
