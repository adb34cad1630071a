import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Descriptor, Digest, Platform } from "./descriptor.ts";
import { digestOf } from "./image-documents.ts";
import { limitValues } from "./limit.ts";
import { ociLimits } from "./limits.ts";
import { MemorySource } from "./memory-source.ts";
import { OciError } from "./oci-error.ts";
import { parsePlatform } from "./platform.ts";
import type { ResolvedImage } from "./resolved-image.ts";

const types = {
  index: "application/vnd.oci.image.index.v1+json",
  list: "application/vnd.docker.distribution.manifest.list.v2+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

/** Documents that are put together by hand, right or wrong. */
class Documents {
  readonly blobs = new Map<Digest, Uint8Array>();

  add(mediaType: string, value: unknown, extra: Partial<Descriptor> = {}): Descriptor {
    const bytes = typeof value === "string" ? Buffer.from(value) : Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length, ...extra };
  }

  image(
    platform: Platform,
    options: { layers?: unknown[]; config?: object; manifest?: object; inIndex?: boolean } = {},
  ) {
    const layers = options.layers ?? [];
    const diffIDs = layers.map((_, index) => digestOf(Buffer.from([index])));
    const config = this.add(types.config, {
      ...platform,
      rootfs: { type: "layers", diff_ids: diffIDs },
      ...options.config,
    });
    const manifest = { schemaVersion: 2, mediaType: types.manifest, config, layers, ...options.manifest };
    return this.add(types.manifest, manifest, options.inIndex === false ? {} : { platform });
  }

  index(manifests: readonly unknown[], mediaType = types.index): Descriptor {
    return this.add(mediaType, { schemaVersion: 2, mediaType, manifests });
  }

  resolve(target: Descriptor, platform: string, limits: Record<string, number> = {}): Promise<ResolvedImage> {
    const source = new MemorySource({ names: ["name"], target, blobs: this.blobs }, limitValues(ociLimits, limits));
    return source.resolve(parsePlatform(platform), { signal: new AbortController().signal });
  }
}

const platformOf = (text: string): Platform => {
  const [os = "", architecture = "", variant] = text.split("/");
  return { os, architecture, ...(variant !== undefined && { variant }) };
};

const layer = (size = 1): Descriptor => ({ mediaType: types.layer, digest: `sha256:${"1".repeat(64)}`, size });

describe("choosing from an index", () => {
  for (const [wanted, offers, expected] of [
    ["linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"],
    ["linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], "linux/arm64/v8"],
    ["linux/arm64", ["linux/arm/v7", "linux/arm64"], "linux/arm64"],
    ["linux/arm/v7", ["linux/arm/v6", "linux/arm"], "linux/arm"],
    ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"],
    ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"],
    ["linux/amd64", ["linux/386", "windows/amd64"], "linux/386"],
  ] as const) {
    test(`${wanted} of ${offers.join(", ")} is ${expected}`, async () => {
      const documents = new Documents();
      const images = offers.map((offer) => documents.image(platformOf(offer)));
      const found = await documents.resolve(documents.index(images, types.list), wanted);
      // Each row of the table has types of its own, and `indexOf` takes what all have in common: nothing.
      assert.equal(found.manifest.digest, images[offers.indexOf(expected as never)].digest);
    });
  }

  test("takes the first of equals, and entries without a platform by their config", async () => {
    const documents = new Documents();
    const first = documents.image(platformOf("linux/amd64"), { config: { created: "2020-01-01T00:00:00Z" } });
    const second = documents.image(platformOf("linux/amd64"));
    const nameless = documents.image(platformOf("linux/s390x"), { inIndex: false });
    const index = documents.index([nameless, first, second]);
    assert.equal((await documents.resolve(index, "linux/amd64")).manifest.digest, first.digest);
    assert.equal((await documents.resolve(index, "linux/s390x")).manifest.digest, nameless.digest);
    await assert.rejects(documents.resolve(index, "linux/riscv64"), /there is: linux\/amd64, linux\/s390x/);
  });

  test("refuses one image for another platform, saying for which it is", async () => {
    const documents = new Documents();
    const image = documents.image(platformOf("linux/arm64"), { inIndex: false });
    await assert.rejects(documents.resolve(image, "linux/amd64"), {
      code: "no-matching-platform",
      message: "name has no image for linux/amd64; there is: linux/arm64/v8",
    });
  });

  test("skips attestations and artifacts", async () => {
    const documents = new Documents();
    const attestation = documents.image(platformOf("unknown/unknown"));
    const marked = documents.image(platformOf("linux/amd64"), { config: { a: 1 } });
    const signature = documents.add("application/vnd.example.signature", "{}");
    const annotations = { "vnd.docker.reference.type": "attestation-manifest" };
    const index = documents.index([attestation, { ...marked, annotations }, signature]);
    await assert.rejects(documents.resolve(index, "linux/amd64"), /there is: none/);
  });
});

describe("hostile documents", () => {
  const refuses = (what: string, code: string, make: (documents: Documents) => Descriptor, limits = {}) => {
    test(`${what}: ${code}`, async () => {
      const documents = new Documents();
      const target = make(documents);
      await assert.rejects(documents.resolve(target, "linux/amd64", limits), (error: unknown) => {
        assert.ok(error instanceof OciError, String(error));
        assert.equal(error.code, code);
        assert.ok(error.message.length < 600);
        return true;
      });
    });
  };
  const amd64 = platformOf("linux/amd64");

  refuses("indexes nested too deep", "limit-exceeded", (documents) => {
    let target = documents.image(amd64);
    for (let depth = 0; depth < 6; depth++) target = documents.index([target]);
    return target;
  });
  refuses("an index of too many entries", "limit-exceeded", (documents) =>
    documents.index(Array.from({ length: 2001 }, () => documents.image(amd64))),
  );
  refuses("an index that makes us read everything", "limit-exceeded", (documents) =>
    documents.index(
      Array.from({ length: 100 }, (_, number) =>
        documents.image(platformOf("linux/arm64"), { inIndex: false, config: { number } }),
      ),
    ),
  );
  refuses("100,000 layers", "limit-exceeded", (documents) => {
    const layers = Array.from({ length: 20_000 }, () => layer());
    return documents.image(amd64, { layers });
  });
  refuses("too large a manifest", "limit-exceeded", (documents) => documents.image(amd64), { "manifest-bytes": 100 });
  refuses("too large a config", "limit-exceeded", (documents) => documents.image(amd64), { "config-bytes": 10 });
  refuses("a target of another digest", "digest-mismatch", (documents) => {
    const target = documents.image(amd64);
    const [bytes] = [...documents.blobs.values()].slice(-1);
    const other = Uint8Array.from(bytes);
    other[5] ^= 1;
    documents.blobs.set(target.digest, other);
    return target;
  });
  refuses("a target of another size", "size-mismatch", (documents) => ({ ...documents.image(amd64), size: 7 }));
  refuses("a missing config", "not-found", (documents) => {
    const target = documents.image(amd64);
    documents.blobs.delete([...documents.blobs.keys()][0]);
    return target;
  });
  refuses("more layers than diff_ids", "invalid-document", (documents) =>
    documents.image(amd64, { layers: [layer()], config: { rootfs: { type: "layers", diff_ids: [] } } }),
  );
  refuses("a config without an architecture", "invalid-document", (documents) =>
    documents.image(amd64, { config: { architecture: undefined } }),
  );
  refuses("index and manifest at once", "invalid-document", (documents) =>
    documents.image(amd64, { manifest: { manifests: [] } }),
  );
  refuses("an index that calls itself a manifest", "invalid-document", (documents) =>
    documents.add(types.manifest, { schemaVersion: 2, mediaType: types.manifest, manifests: [] }),
  );
  refuses("two media types", "invalid-document", (documents) => ({
    ...documents.image(amd64),
    mediaType: types.index,
  }));
  refuses("a digest of another kind", "invalid-document", (documents) =>
    documents.image(amd64, {
      manifest: { config: { mediaType: types.config, digest: `sha512:${"a".repeat(128)}`, size: 1 } },
    }),
  );
  refuses("a digest with a path in it", "invalid-document", (documents) =>
    documents.image(amd64, { layers: [{ ...layer(), digest: "sha256:../../etc/passwd" }] }),
  );
  refuses("a negative size", "invalid-document", (documents) => documents.image(amd64, { layers: [layer(-1)] }));
  refuses("a size with a fraction", "invalid-document", (documents) =>
    documents.image(amd64, { layers: [layer(0.5)] }),
  );
  refuses("a layer that is none", "not-an-image", (documents) =>
    documents.image(amd64, {
      layers: [{ ...layer(), mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip" }],
    }),
  );
  refuses("an encrypted layer", "not-an-image", (documents) =>
    documents.image(amd64, { layers: [{ ...layer(), mediaType: `${types.layer}+encrypted` }] }),
  );
  refuses("schema 1", "unsupported-schema1", (documents) =>
    documents.add("application/vnd.docker.distribution.manifest.v1+prettyjws", { schemaVersion: 1, fsLayers: [] }),
  );
  refuses("deep nesting", "invalid-document", (documents) =>
    documents.add(types.manifest, `${"[".repeat(500_000)}${"]".repeat(500_000)}`),
  );
  refuses("a number", "invalid-document", (documents) => documents.add(types.manifest, "5"));
  refuses("nothing", "invalid-document", (documents) => documents.add(types.manifest, ""));

  test("anything else that is JSON gives an image or an OciError", async () => {
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.record(
        {
          schemaVersion: fc.constantFrom(1, 2, "2", null),
          mediaType: fc.constantFrom(...Object.values(types), 3, null),
          manifests: fc.array(
            fc.record({ mediaType: fc.constant(types.manifest), digest: fc.string(), size: fc.nat() }),
          ),
          config: fc.option(fc.record({ mediaType: fc.constant(types.config), digest: fc.string(), size: fc.nat() })),
          layers: fc.option(fc.array(fc.anything({ maxDepth: 1 }), { maxLength: 3 })),
        },
        { requiredKeys: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(value, fc.constantFrom(types.index, types.manifest), async (document, mediaType) => {
        const documents = new Documents();
        const target = documents.add(mediaType, JSON.stringify(document) ?? "");
        await documents
          .resolve(target, "linux/amd64")
          .catch((error: unknown) => assert.ok(error instanceof OciError, String(error)));
      }),
      { numRuns: 500 },
    );
  });
});

test("times that make no sense count as none", async () => {
  for (const [created, expected] of [
    ["0001-01-01T00:00:00Z", undefined],
    ["1969-12-31T23:59:59Z", undefined],
    ["yesterday", undefined],
    ["2024-02-29T12:00:00", undefined],
    ["2024-02-29T12:00:00Z or so", undefined],
    ["1970-01-01T00:00:00Z", 0],
    ["2024-02-29T12:00:00.999999999+02:00", Date.UTC(2024, 1, 29, 10) / 1000],
  ] as const) {
    const documents = new Documents();
    const image = documents.image(platformOf("linux/amd64"), { config: { created } });
    assert.equal((await documents.resolve(image, "linux/amd64")).createdSeconds, expected, created);
  }
});
