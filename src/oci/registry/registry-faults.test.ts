import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { type FaultRegistry, startFaultRegistry } from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage, tagInLayout } from "../../../test/support/image-maker.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import type { Descriptor } from "../descriptor.ts";
import { type OpenImageOptions, openImageSource } from "../open-image.ts";
import { parsePlatform } from "../platform.ts";
import type { ResolvedImage } from "../resolved-image.ts";

/** A registry that stalls, cuts, lies or asks for patience. */

const directory = await mkdtemp(join(tmpdir(), "nodewarm-faults-"));
const signal = new AbortController().signal;
const tar = randomBytes(3 << 20);
let registry: FaultRegistry;
let image: MadeImage;
const tags: Record<string, Descriptor> = {};

before(async () => {
  image = await makeImage(directory, { layers: [{ tar, compression: "none" }] });
  tags["a/b:v1"] = image.manifest;
});
beforeEach(async (context) => {
  registry = await startFaultRegistry({ layoutDirectory: directory, tags });
  if ("after" in context) context.after(() => registry.stop());
});
after(() => rm(directory, { recursive: true }));

async function pull(
  options: OpenImageOptions = {},
  reference = "a/b:v1",
): Promise<{ image: ResolvedImage; layer: Buffer }> {
  const source = await openImageSource(`${registry.host}/${reference}`, {
    retryDelayMs: 5,
    ...options,
    limits: { "fetch-retries": 3, ...options.limits },
  });
  try {
    const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
    const pieces: Uint8Array[] = [];
    if (resolved.layers.length > 0) for await (const piece of resolved.openLayer(0, { signal })) pieces.push(piece);
    return { image: resolved, layer: Buffer.concat(pieces) };
  } finally {
    await source.close();
  }
}

/** For servers that do stall: a busy machine looks like one as well. */
const stallsSoon = { "stall-seconds": 0.3 };

const blobRequests = () => registry.requests.filter((each) => each.path.endsWith(image.layers[0].descriptor.digest));

/** The bytes of a range of the layer. */
async function pullRange(offset: number, length: number): Promise<Buffer> {
  const limits = { "fetch-retries": 3 };
  const source = await openImageSource(`${registry.host}/a/b:v1`, { retryDelayMs: 5, limits });
  try {
    const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
    const pieces: Uint8Array[] = [];
    for await (const piece of resolved.openLayer(0, { signal, range: { offset, length } })) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    await source.close();
  }
}

describe("a range of a blob", () => {
  test("is all that is asked for, and goes on where it was cut", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 500_000 }, 1);
    assert.ok((await pullRange(1_000_000, 1_500_000)).equals(tar.subarray(1_000_000, 2_500_000)));
    const ranges = blobRequests().map(({ headers }) => headers.range);
    assert.equal(ranges[0], "bytes=1000000-2499999");
    assert.match(String(ranges[1]), /^bytes=1[0-5]\d{5}-2499999$/);
    assert.equal(ranges.length, 2);
  });

  test("is refused where the server gives only the whole, unless it is the beginning", async () => {
    registry.fault(layerPath(), { kind: "ignore-range" }, 2);
    await assert.rejects(pullRange(1_000_000, 1000), { code: "no-ranges" });
    assert.ok((await pullRange(0, 1000)).equals(tar.subarray(0, 1000)));
  });

  test("of another blob by its length is refused", async () => {
    registry.fault(layerPath(), { kind: "changed-length", total: tar.length + 1 });
    await assert.rejects(pullRange(1000, 1000), { code: "size-mismatch" });
  });
});

describe("a broken transfer", () => {
  test("goes on where it was cut, by range", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 1_000_000 }, 2);
    assert.ok((await pull()).layer.equals(tar));
    const ranges = blobRequests().map(({ headers }) => headers.range);
    assert.equal(ranges.length, 3);
    assert.match(String(ranges[1]), /^bytes=\d{5,7}-$/);
    assert.match(String(ranges[2]), /^bytes=\d{6,7}-$/);
  });

  test("reads over what was there when the server ignores ranges", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 2_000_000 });
    registry.fault(layerPath(), { kind: "ignore-range" });
    assert.ok((await pull()).layer.equals(tar));
    assert.equal(blobRequests().length, 2);
  });

  test("is taken up again after a stall", async () => {
    registry.fault(layerPath(), { kind: "stall", afterBytes: 100_000 });
    assert.ok((await pull({ limits: stallsSoon })).layer.equals(tar));
  });

  test("ends in one error when the server always stalls", async () => {
    registry.fault(layerPath(), { kind: "stall", afterBytes: 1000 }, 100);
    await assert.rejects(pull({ limits: { ...stallsSoon, "fetch-retries": 1 } }), {
      code: "transfer-broken",
      message: /stall-seconds/,
    });
    assert.equal(blobRequests().length, 2);
  });

  test("ends in one error when the server sends a few bytes now and then", async () => {
    registry.fault(layerPath(), { kind: "drip", bytes: 10, everyMs: 20 }, 100);
    await assert.rejects(pull({ limits: { ...stallsSoon, "fetch-retries": 1 } }), {
      code: "transfer-broken",
      message: /next to nothing/,
    });
  });

  test("is given up when the length has changed", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 1_000_000 });
    registry.fault(layerPath(), { kind: "changed-length", total: 5_000_000 });
    await assert.rejects(pull(), { code: "size-mismatch", message: /5000000 bytes instead of/ });
  });

  test("is given up when the server has no more bytes", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 1_000_000 });
    registry.fault(layerPath(), { kind: "changed-length", total: 10 });
    await assert.rejects(pull(), { code: "size-mismatch", message: /no bytes from/ });
  });

  test("counts attempts anew after progress", async () => {
    registry.fault(layerPath(), { kind: "cut", afterBytes: 1_200_000 }, 2);
    registry.fault(layerPath(), { kind: "status", status: 503 }, 1);
    assert.ok((await pull({ limits: { "fetch-retries": 2 } })).layer.equals(tar));
  });
});

describe("a blob of the wrong size", () => {
  for (const [byBytes, withLength] of [
    [-5, true],
    [-5, false],
    [5, true],
    [5, false],
  ] as const) {
    test(`${byBytes} bytes, ${withLength ? "with" : "without"} Content-Length`, async () => {
      registry.fault(layerPath(), { kind: "resized", byBytes, withLength }, 1);
      // Only a body that ends early without having said so may be whole the next time.
      if (byBytes < 0 && !withLength) assert.ok((await pull()).layer.equals(tar));
      else await assert.rejects(pull(), { code: "size-mismatch" });
    });
  }
});

describe("a registry in trouble", () => {
  test("is asked again after 5xx", async () => {
    registry.fault(/manifests/, { kind: "status", status: 503 }, 2);
    registry.fault(layerPath(), { kind: "status", status: 502 }, 2);
    assert.ok((await pull()).layer.equals(tar));
  });

  test("is given up with its own words", async () => {
    const body = '{"errors":[{"code":"UNKNOWN","message":"the disk\\u001b[31m is full\\n"}]}';
    registry.fault(/manifests/, { kind: "status", status: 500, body }, 100);
    await assert.rejects(pull(), (error: Error & { code?: string }) => {
      assert.equal(error.code, "registry-error");
      assert.match(error.message, /answered 500 \(UNKNOWN: the disk \[31m is full\) for .*a\/b:v1/);
      return true;
    });
    assert.equal(registry.requests.length, 4);
  });

  test("is not asked again when it says no", async () => {
    registry.fault(/manifests/, { kind: "status", status: 403, body: "x".repeat(1 << 20) });
    await assert.rejects(pull(), { code: "denied" });
    assert.equal(registry.requests.length, 1);
    await assert.rejects(pull({}, "a/nothing:v1"), { code: "not-found", message: /manifest unknown/ });
  });

  for (const [what, value] of [
    ["seconds", () => "1"],
    ["a date", () => new Date(Date.now() + 1999).toUTCString()],
  ] as const) {
    test(`is given the time it asks for in ${what}`, async () => {
      registry.fault(/manifests/, { kind: "status", status: 429, headers: { "retry-after": value() } });
      const start = performance.now();
      await pull();
      assert.ok(performance.now() - start > 900, "waited for about a second");
    });
  }

  test("is not given more time than the limit", async () => {
    registry.fault(/manifests/, { kind: "status", status: 429, headers: { "retry-after": "86400" } }, 100);
    const start = performance.now();
    await assert.rejects(pull({ limits: { "retry-after-seconds": 0.05 } }), { code: "rate-limited" });
    assert.ok(performance.now() - start < 30_000);
  });

  test("that does not answer at all is named with what to do", async () => {
    const { host } = registry;
    await registry.stop();
    await assert.rejects(pull(), (error: Error & { code?: string }) => {
      assert.equal(error.code, "registry-unreachable");
      assert.match(error.message, new RegExp(`${host}.*ECONNREFUSED.*nothing listens`));
      return true;
    });
  });
});

describe("a document that lies", () => {
  test("is refused when a manifest by digest has other bytes", async () => {
    registry.fault(/manifests/, { kind: "wrong-bytes" }, 100);
    await assert.rejects(pull({}, `a/b@${image.manifest.digest}`), { code: "digest-mismatch" });
  });

  test("is refused when a manifest by tag is not what Docker-Content-Digest says", async () => {
    registry.fault(/manifests/, { kind: "wrong-bytes" }, 100);
    await assert.rejects(pull(), { code: "digest-mismatch" });
  });

  test("is refused when a config has other bytes", async () => {
    registry.fault(new RegExp(image.config.digest), { kind: "wrong-bytes" }, 100);
    await assert.rejects(pull(), { code: "digest-mismatch" });
  });

  for (const [what, path] of [
    ["manifest", () => /manifests/],
    ["config", () => new RegExp(image.config.digest)],
  ] as const) {
    test(`is cut off at the limit when a ${what} never ends`, async () => {
      registry.fault(path(), { kind: "endless" }, 100);
      const before = process.memoryUsage().rss;
      await assert.rejects(pull(), { code: "limit-exceeded", message: new RegExp(`--limit ${what}-bytes=`) });
      assert.ok(process.memoryUsage().rss - before < 150 << 20);
    });
  }

  test("is refused by name when it is of schema 1", async () => {
    const body = '{"schemaVersion":1,"name":"a/b","tag":"v1","fsLayers":[]}';
    const headers = { "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws" };
    registry.fault(/manifests/, { kind: "status", status: 200, headers, body });
    await assert.rejects(pull(), { code: "unsupported-schema1" });
  });

  test("is refused when it is a web page", async () => {
    registry.fault(/manifests/, {
      kind: "status",
      status: 200,
      headers: { "content-type": "text/html" },
      body: "<html>",
    });
    await assert.rejects(pull(), { code: "invalid-document", message: /is not JSON/ });
  });
});

test("a foreign layer comes from its URLs when the registry lacks it", async () => {
  const elsewhere = await makeImage(join(directory, "elsewhere"), { layers: [{ tar, compression: "none" }] });
  const digest = elsewhere.layers[0].descriptor.digest;
  const other = await startFaultRegistry({ layoutDirectory: join(directory, "elsewhere"), tags: {} });
  const foreign = {
    ...image.layers[0],
    descriptor: {
      ...image.layers[0].descriptor,
      mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar",
      urls: ["ftp://nowhere/x", `${other.origin}/nothing`, `${other.origin}/v2/any/blobs/${digest}`],
    },
  };
  tags["a/foreign:v1"] = (await makeImage(directory, { layers: [foreign] })).manifest;
  registry.fault(layerPath(), { kind: "status", status: 404 }, 1);
  other.fault(/blobs/, { kind: "cut", afterBytes: 1_000_000 });
  const { layer } = await pull({}, "a/foreign:v1");
  assert.ok(layer.equals(tar));
  assert.ok(other.requests.some(({ headers }) => headers.range !== undefined));
  await other.stop();
});

test("an image without layers is an image", async () => {
  const empty = await makeImage(directory, { layers: [] });
  await tagInLayout(directory, empty.manifest, "empty");
  tags["a/empty:v1"] = empty.manifest;
  assert.equal((await pull({}, "a/empty:v1")).image.layers.length, 0);
});

test("no more layers are read at once from one registry than allowed", async () => {
  const source = await openImageSource(`${registry.host}/a/b:v1`, { parallelism: 2 });
  const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
  let open = 0;
  let most = 0;
  const digests = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const hash = createHash("sha256");
      let isFirst = true;
      for await (const piece of resolved.openLayer(0, { signal })) {
        if (isFirst) {
          most = Math.max(most, ++open);
          await waitUntil("another is read beside it", async () => most > 1);
          // Time for more to begin too.
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        isFirst = false;
        hash.update(piece);
      }
      open--;
      return hash.digest("hex");
    }),
  );
  await source.close();
  assert.equal(new Set(digests).size, 1);
  assert.equal(most, 2);
});

function layerPath(): RegExp {
  return new RegExp(image.layers[0].descriptor.digest);
}
