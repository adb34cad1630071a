import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import {
  type Fault,
  type FaultRegistry,
  type FaultRegistryOptions,
  startFaultRegistry,
} from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage } from "../../../test/support/image-maker.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { listen } from "../../../test/support/registry.ts";
import { registryAccess } from "../../../test/support/registry-access.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { hostPlatform, parsePlatform } from "../../oci/platform.ts";
import { parseReference } from "../../oci/reference.ts";
import { RegistryImageResolver, type RegistryResolverOptions } from "./registry-image-resolver.ts";

/** Registries that are down, slow or lie. */

const scope = new AsyncDisposableStack();
const { signal } = new AbortController();
let layout: string;
let image: MadeImage;
let other: MadeImage;
let registry: FaultRegistry;

before(async () => {
  layout = await temporaryDirectory(scope, "faults");
  image = await makeImage(layout, { layers: [{ tar: randomBytes(50_000), compression: "none" }] });
  other = await makeImage(layout, { layers: [{ tar: randomBytes(1000), compression: "none" }] });
});
beforeEach(async () => {
  registry = await start();
});
after(() => scope.disposeAsync());

async function start(options: Partial<FaultRegistryOptions> = {}): Promise<FaultRegistry> {
  const started = await startFaultRegistry({ layoutDirectory: layout, tags: { "a/b:v1": image.manifest }, ...options });
  scope.defer(() => started.stop());
  return started;
}

function resolverOf(options: Partial<RegistryResolverOptions> = {}): RegistryImageResolver {
  const resolver = new RegistryImageResolver({
    access: async () => registryAccess(),
    settings: () => ({ registries: [], dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
    limits: { "fetch-retries": 2 },
    retryDelayMs: 5,
    ...options,
  });
  scope.defer(() => resolver.close());
  return resolver;
}

const tagAt = (host: string) => parseReference(`${host}/a/b:v1`);
const seen = ({ requests }: FaultRegistry) => requests.map(({ method, path }) => `${method} ${path}`);

describe("a tag", () => {
  test("costs one HEAD", async () => {
    assert.equal(await resolverOf().resolveTag(tagAt(registry.host), { signal }), image.manifest.digest);
    assert.deepEqual(seen(registry), ["HEAD /v2/a/b/manifests/v1"]);
  });

  test("is told of with each request, and each that is made again", async () => {
    registry.fault(/manifests/, { kind: "status", status: 503 });
    const asked: string[] = [];
    let retries = 0;
    const watcher = {
      asked: (server: string, about: string) => void asked.push(`${about} at ${server}`),
      retried: () => void retries++,
    };
    const resolver = resolverOf({ watcher });
    assert.equal(await resolver.resolveTag(tagAt(registry.host), { signal }), image.manifest.digest);
    await resolver.openImage(tagAt(registry.host), image.manifest.digest, hostPlatform(), { signal });
    assert.equal(asked.length, registry.requests.length);
    assert.equal(retries, 1);
    const at = `at ${registry.host}`;
    assert.deepEqual(asked, [`tag ${at}`, `tag ${at}`, `content ${at}`, `content ${at}`]);
  });

  for (const status of [400, 403, 405, 501]) {
    test(`is read by GET where HEAD is answered with ${status}`, async () => {
      registry.fault(/manifests/, { kind: "status", status });
      assert.equal(await resolverOf().resolveTag(tagAt(registry.host), { signal }), image.manifest.digest);
      assert.deepEqual(seen(registry), ["HEAD /v2/a/b/manifests/v1", "GET /v2/a/b/manifests/v1"]);
    });
  }

  for (const headers of [{}, { "docker-content-digest": "md5:x" }, { "docker-content-digest": "sha256:short" }]) {
    test(`is read by GET where HEAD gives no digest: ${JSON.stringify(headers)}`, async () => {
      registry.fault(/manifests/, { kind: "status", status: 200, headers });
      assert.equal(await resolverOf().resolveTag(tagAt(registry.host), { signal }), image.manifest.digest);
    });
  }

  test("has not changed when the server says so of the digest, or of its own ETag", async () => {
    const asked: (string | undefined)[] = [];
    let digest = image.manifest.digest;
    let etag = "";
    const server = await listen((request, response) => {
      const given = request.headers["if-none-match"];
      asked.push(given);
      const isSame = given !== undefined && given === (etag || `"${digest}"`);
      response.writeHead(isSame ? 304 : 200, {
        ...(etag && { etag }),
        ...(!isSame && { "docker-content-digest": digest }),
      });
      response.end();
    });
    scope.defer(() => server.stop());
    const resolver = resolverOf();
    const resolve = (known: typeof digest) => resolver.resolveTag(tagAt(server.host), { signal, known });
    assert.equal(await resolve(digest), digest);
    etag = 'W/"one"';
    assert.equal(await resolve(digest), digest);
    assert.equal(await resolve(digest), digest);
    [digest, etag] = [other.manifest.digest, '"two"'];
    assert.equal(await resolve(image.manifest.digest), digest);
    assert.deepEqual(asked, [`"${image.manifest.digest}"`, `"${image.manifest.digest}"`, 'W/"one"', 'W/"one"']);
  });

  test("is read where the server says that nothing changed but names another digest", async () => {
    const headers = { "docker-content-digest": other.manifest.digest };
    registry.fault(/manifests/, { kind: "status", status: 304, headers });
    const found = await resolverOf().resolveTag(tagAt(registry.host), { signal, known: `sha256:${"1".repeat(64)}` });
    assert.equal(found, image.manifest.digest);
  });

  test("cannot be resolved to what is not there: opening it fails and names the registry", async () => {
    const digest = `sha256:${"2".repeat(64)}` as const;
    registry.fault(/manifests\/v1/, { kind: "status", status: 200, headers: { "docker-content-digest": digest } });
    const resolver = resolverOf();
    assert.equal(await resolver.resolveTag(tagAt(registry.host), { signal }), digest);
    const opened = resolver.openImage(tagAt(registry.host), digest, hostPlatform(), { signal });
    await assert.rejects(opened, { code: "not-found", message: new RegExp(registry.host) });
  });
});

describe("a registry that asks for a pause", () => {
  test("is not asked again before, for no tag and no image; others are", async () => {
    const calm = await start();
    registry.fault(/./, { kind: "status", status: 429, headers: { "retry-after": "60" } });
    const resolver = resolverOf();
    const limited = { code: "rate-limited", message: new RegExp(registry.host) };
    await assert.rejects(resolver.resolveTag(tagAt(registry.host), { signal }), limited);
    const before = performance.now();
    await assert.rejects(resolver.resolveTag(parseReference(`${registry.host}/other:v2`), { signal }), limited);
    assert.ok(performance.now() - before < 30_000);
    assert.equal(registry.requests.length, 1);
    assert.equal(await resolver.resolveTag(tagAt(calm.host), { signal }), image.manifest.digest);
  });

  test("is waited for when the pause is short", async () => {
    registry.fault(/./, { kind: "status", status: 429, headers: { "retry-after": "1" } });
    const started = performance.now();
    assert.equal(await resolverOf().resolveTag(tagAt(registry.host), { signal }), image.manifest.digest);
    assert.ok(performance.now() - started >= 1000);
    assert.equal(registry.requests.length, 2);
  });

  test("may be in trouble, too: 503 with Retry-After", async () => {
    registry.fault(/./, { kind: "status", status: 503, headers: { "retry-after": "30" } });
    const resolver = resolverOf();
    await assert.rejects(resolver.resolveTag(tagAt(registry.host), { signal }), { code: "registry-error" });
    await assert.rejects(resolver.resolveTag(tagAt(registry.host), { signal }), { code: "rate-limited" });
    assert.equal(registry.requests.length, 1);
  });
});

describe("questions about tags", () => {
  test("are spread over time as AgentConfig says for that registry", async () => {
    const override = { prefix: registry.host, authorities: [], mirrors: [], plainHttp: false, skipVerify: false };
    const registries = [{ ...override, requestsPerSecond: 20, burst: 2 }];
    const resolver = resolverOf({ settings: () => ({ registries, dockerConfigs: [] }) });
    await resolver.resolveTag(tagAt(registry.host), { signal });
    const started = performance.now();
    await Promise.all(Array.from({ length: 9 }, () => resolver.resolveTag(tagAt(registry.host), { signal })));
    const tookMs = performance.now() - started;
    assert.ok(tookMs > 350, `${tookMs}`);
  });
});

describe("opening an image", () => {
  const faults: Record<string, { fault: Fault; codes: string[]; times?: number }> = {
    stall: { fault: { kind: "stall", afterBytes: 10 }, codes: ["transfer-broken"] },
    cut: { fault: { kind: "cut", afterBytes: 10 }, codes: ["registry-unreachable", "transfer-broken"] },
    "wrong bytes": { fault: { kind: "wrong-bytes" }, codes: ["digest-mismatch"] },
    "a shorter body": { fault: { kind: "resized", byBytes: -5, withLength: true }, codes: ["digest-mismatch"] },
    "a longer body": { fault: { kind: "resized", byBytes: 5, withLength: false }, codes: ["digest-mismatch"] },
    "a slow loris": { fault: { kind: "drip", bytes: 1, everyMs: 100 }, codes: ["transfer-broken"] },
    "zeros without end": { fault: { kind: "endless" }, codes: ["limit-exceeded"] },
    "a server error": { fault: { kind: "status", status: 500 }, codes: ["registry-error"] },
    "no permission": { fault: { kind: "status", status: 403 }, codes: ["denied"] },
  };
  for (const [name, { fault, codes }] of Object.entries(faults)) {
    test(`fails when ${name} does not pass, and names the registry`, async () => {
      registry.fault(/manifests/, fault, 1000);
      // A busy machine looks like a server that stalls.
      const stalls = ["stall", "drip"].includes(fault.kind);
      const limits = { "stall-seconds": stalls ? 1 : 30, "fetch-retries": 1, "manifest-bytes": 3 << 20 };
      const opened = resolverOf({ limits }).openImage(
        tagAt(registry.host),
        image.manifest.digest,
        parsePlatform("linux/amd64"),
        { signal },
      );
      const error = await opened.then(
        () => assert.fail("it was opened"),
        (reason: { code: string; message: string }) => reason,
      );
      assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
      assert.match(error.message, new RegExp(registry.host));
      assert.doesNotMatch(error.message, /--limit|--ca|--authfile/);
    });
  }

  for (const path of [/manifests/, /blobs/]) {
    test(`goes on after ${path} was cut and in trouble once each`, async () => {
      registry.fault(path, { kind: "cut", afterBytes: 10 });
      registry.fault(path, { kind: "status", status: 502 });
      const reference = tagAt(registry.host);
      const platform = parsePlatform("linux/amd64");
      const opened = await resolverOf().openImage(reference, image.manifest.digest, platform, { signal });
      let bytes = 0;
      for await (const piece of opened.openLayer(0, { signal })) bytes += piece.length;
      assert.equal(bytes, 50_000);
    });
  }

  test("ends redirects that go round", async () => {
    registry.fault(/./, { kind: "redirect", location: `${registry.origin}/v2/a/b/manifests/v1` }, 1000);
    const resolver = resolverOf();
    const refused = { code: "redirect-refused", message: new RegExp(registry.host) };
    await assert.rejects(resolver.resolveTag(tagAt(registry.host), { signal }), refused);
    const opened = resolver.openImage(tagAt(registry.host), image.manifest.digest, hostPlatform(), { signal });
    await assert.rejects(opened, refused);
    assert.ok(registry.requests.length < 30);
  });
});

test("a registry that is down is named, and asked again when it is up", async () => {
  const { host } = registry;
  await registry.stop();
  const resolver = resolverOf();
  const down = { code: "registry-unreachable", message: new RegExp(`${host}.*nothing listens there`) };
  await assert.rejects(resolver.resolveTag(tagAt(host), { signal }), down);
  const opened = resolver.openImage(tagAt(host), image.manifest.digest, hostPlatform(), { signal });
  await assert.rejects(opened, down);
});

test("what is waited for ends at once when it is given up", async () => {
  registry.fault(/./, { kind: "status", status: 429, headers: { "retry-after": "4" } }, 1000);
  const controller = new AbortController();
  const asked = resolverOf().resolveTag(tagAt(registry.host), { signal: controller.signal });
  const givenUp = assert.rejects(asked, /given up/);
  await waitUntil("the registry was asked", async () => registry.requests.length > 0);
  controller.abort(new Error("given up"));
  await givenUp;
  assert.equal(registry.requests.length, 1, "the pause was not waited for");
});
