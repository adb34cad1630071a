import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { makeCertificates } from "../../../test/support/certificates.ts";
import {
  type FaultRegistry,
  type FaultRegistryOptions,
  startFaultRegistry,
} from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage } from "../../../test/support/image-maker.ts";
import { type OpenImageOptions, openImageSource } from "../open-image.ts";
import { parsePlatform } from "../platform.ts";
import { defaultEndpoints } from "./endpoint.ts";
import { configuredEndpoints } from "./hosts-toml.ts";

const directory = await mkdtemp(join(tmpdir(), "nodewarm-hosts-"));
const layout = join(directory, "layout");
const tar = randomBytes(50_000);
const signal = new AbortController().signal;
let image: MadeImage;
let hosts: string;
const running: FaultRegistry[] = [];

before(async () => {
  image = await makeImage(layout, { layers: [{ tar, compression: "none" }] });
  makeCertificates(directory);
});
beforeEach(async () => {
  hosts = await mkdtemp(join(directory, "hosts-"));
});
after(async () => {
  for (const each of running) await each.stop();
  await rm(directory, { recursive: true });
});

async function start(options: Partial<FaultRegistryOptions> = {}): Promise<FaultRegistry> {
  const registry = await startFaultRegistry({
    layoutDirectory: layout,
    tags: { "a/b:v1": image.manifest },
    ...options,
  });
  running.push(registry);
  return registry;
}

async function configure(host: string, text: string): Promise<void> {
  await mkdir(join(hosts, host), { recursive: true });
  await writeFile(join(hosts, host, "hosts.toml"), text);
}

async function pull(reference: string, options: OpenImageOptions = {}): Promise<Buffer> {
  const limits = { "fetch-retries": 1 };
  const source = await openImageSource(reference, {
    hostsDir: hosts,
    retryDelayMs: 5,
    environment: {},
    limits,
    ...options,
  });
  try {
    const resolved = await source.resolve(parsePlatform("linux/amd64"), { signal });
    const pieces: Uint8Array[] = [];
    for await (const piece of resolved.openLayer(0, { signal })) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    await source.close();
  }
}

describe("mirrors from hosts.toml", () => {
  test("are asked in order with the ns parameter, and the next one after a failure", async () => {
    const broken = await start();
    const good = await start();
    broken.fault(/./, { kind: "status", status: 500 }, 1000);
    await configure(
      "registry.example",
      `server = "https://registry.invalid"
       [host."${broken.origin}"]
       capabilities = ["pull", "resolve"]
       [host."${good.origin}"]
       [host."${good.origin}".header]
       X-One = "1"
       x-two = ["2", "3"]`,
    );
    assert.ok((await pull("registry.example/a/b:v1")).equals(tar));
    assert.equal(broken.requests.length, 1, "a mirror that failed is left alone for a while");
    assert.ok(good.requests.every(({ path }) => path.endsWith("?ns=registry.example")));
    assert.equal(good.requests[0].headers["x-one"], "1");
    assert.equal(good.requests[0].headers["x-two"], "2, 3");
  });

  test("that lack the image lead to the registry itself, without ns", async () => {
    const mirror = await start({ tags: {} });
    const registry = await start();
    await configure(registry.host, `server = "${registry.origin}"\n[host."${mirror.origin}"]`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
    assert.ok(registry.requests.every(({ path }) => !path.includes("ns=")));
  });

  test("without the capability to resolve are asked for digests only", async () => {
    const mirror = await start();
    const registry = await start();
    await configure(registry.host, `[host."${mirror.origin}"]\ncapabilities = ["pull"]`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
    assert.deepEqual(
      registry.requests.map(({ path }) => path),
      ["/v2/a/b/manifests/v1"],
    );
    assert.ok(mirror.requests.length >= 2);
  });

  test("that lie about a digest are passed over", async () => {
    const mirror = await start();
    const registry = await start();
    mirror.fault(/manifests|blobs/, { kind: "wrong-bytes" }, 1000);
    await configure(registry.host, `[host."${mirror.origin}"]`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
  });

  test("that break off in the middle of a layer are passed over", async () => {
    const mirror = await start();
    const registry = await start();
    mirror.fault(/blobs/, { kind: "cut", afterBytes: 20_000 }, 1000);
    await configure(registry.host, `[host."${mirror.origin}"]`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
  });

  test("are named when nothing works", async () => {
    const mirror = await start();
    const registry = await start({ tags: {} });
    mirror.fault(/./, { kind: "status", status: 500 }, 1000);
    await configure(registry.host, `[host."${mirror.origin}"]`);
    await assert.rejects(pull(`${registry.host}/a/b:v1`), {
      code: "not-found",
      message: new RegExp(`Before that: ${mirror.origin}.* answered 500`),
    });
  });

  test("may have a path of their own", async () => {
    const registry = await start();
    await configure("one.example", `[host."${registry.origin}/cache"]`);
    await configure("two.example", `[host."${registry.origin}/v2"]\noverride_path = true`);
    registry.fault(/^\/cache\/v2\/a\/b\/manifests/, { kind: "status", status: 403 });
    await assert.rejects(
      pull("one.example/a/b:v1", { plainHttp: ["one.example"] }),
      /Before that: .*\/cache\/v2\/a\/b\/manifests/,
    );
    assert.ok((await pull("two.example/a/b:v1")).equals(tar));
  });
});

describe("the folders of hosts.toml", () => {
  const endpointsOf = (host: string) =>
    configuredEndpoints({ directories: [hosts] }, host, defaultEndpoints(host, [], false));

  test("are looked up as containerd does", async () => {
    await configure("_default", 'server = "https://default.example"');
    await configure("a.example:5000", 'server = "https://colon.example"');
    assert.equal((await endpointsOf("a.example:5000"))?.[0].origin, "https://colon.example");
    await configure("a.example_5000_", 'server = "https://underscore.example"');
    assert.equal((await endpointsOf("a.example:5000"))?.[0].origin, "https://underscore.example");
    assert.equal((await endpointsOf("a.example"))?.[0].origin, "https://default.example");
  });

  test("may say nothing of a host", async () => {
    assert.equal(await endpointsOf("a.example"), undefined);
    await configure("b.example", "");
    assert.deepEqual(await endpointsOf("b.example"), defaultEndpoints("b.example", [], false));
    await configure("docker.io", 'server = "https://docker.io"');
    assert.equal((await endpointsOf("docker.io"))?.[0].origin, "https://registry-1.docker.io");
    assert.equal((await endpointsOf("docker.io"))?.[0].namespace, undefined);
  });

  for (const [text, message] of [
    ["server = 5", /"server" must be a text/],
    ["= x", /not valid TOML/],
    [
      '[host."http://a"]\nskip_verify = "yes"',
      /hosts\.toml in \[host\."http:\/\/a"\]: "skip_verify" must be true or false/,
    ],
    ['[host."http://a"]\ncapabilities = ["fly"]', /unknown capability "fly"/],
    ['[host."http://a"]\nca = "missing.pem"', /Cannot read .*missing\.pem/],
    ['[host."http://a"]\nclient = [["a","b","c"]]', /pairs of files/],
    ['[host."http://u:p@a"]', /must not have a user/],
    ["host = 1", /"host" must be a table/],
  ] as const) {
    test(`refuse ${JSON.stringify(text)}`, async () => {
      await configure("a.example", text);
      await assert.rejects(endpointsOf("a.example"), { code: "invalid-configuration", message });
    });
  }
});

describe("TLS", () => {
  const pem = (name: string) => join(directory, `${name}.pem`);
  const serverTls = async () => ({
    key: await readFile(pem("server-key"), "utf8"),
    cert: await readFile(pem("server"), "utf8"),
  });

  test("is refused for an unknown authority, and --ca makes it known", async () => {
    const registry = await start({ tls: await serverTls() });
    await configure(registry.host, `server = "${registry.origin}"`);
    await assert.rejects(pull(`${registry.host}/a/b:v1`), { code: "registry-unreachable", message: /--ca FILE/ });
    assert.ok((await pull(`${registry.host}/a/b:v1`, { caFiles: [pem("ca")] })).equals(tar));
    assert.ok((await pull(`${registry.host}/a/b:v1`, { caFiles: [pem("ca")], hostsDir: undefined })).equals(tar));
  });

  test("to a server of plain HTTP says what to do", async () => {
    const registry = await start();
    await configure(registry.host, `server = "https://${registry.host}"`);
    await assert.rejects(pull(`${registry.host}/a/b:v1`), { message: new RegExp(`--plain-http ${registry.host}`) });
  });

  test("takes authority, client certificate and skip_verify from hosts.toml", async () => {
    const ca = await readFile(pem("ca"), "utf8");
    const registry = await start({ tls: { ...(await serverTls()), ca, requestCert: true } });
    await configure(registry.host, `server = "${registry.origin}"\nca = "${pem("ca")}"`);
    await assert.rejects(pull(`${registry.host}/a/b:v1`), { code: "registry-unreachable" });
    const client = `client = [["${pem("client")}", "${pem("client-key")}"]]`;
    await configure(registry.host, `server = "${registry.origin}"\nca = "${pem("ca")}"\n${client}`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
    await configure(registry.host, `server = "${registry.origin}"\nskip_verify = true\n${client}`);
    assert.ok((await pull(`${registry.host}/a/b:v1`)).equals(tar));
  });

  test("takes docker's certificate files from a folder without hosts.toml", async () => {
    const registry = await start({ tls: await serverTls() });
    await mkdir(join(hosts, registry.host));
    await writeFile(join(hosts, registry.host, "own.crt"), await readFile(pem("ca")));
    await assert.rejects(pull(`${registry.host}/a/b:v1`, { plainHttp: [] }), { code: "registry-unreachable" });
    assert.ok((await pull(`${registry.host}/a/b:v1`, { caFiles: [pem("client")] })).equals(tar));
  });

  test("is not left for plain HTTP by a redirect, nor is a token fetched that way", async () => {
    const registry = await start({ tls: await serverTls() });
    await configure(registry.host, `server = "${registry.origin}"\nca = "${pem("ca")}"`);
    registry.fault(/blobs/, { kind: "redirect", location: "http://127.0.0.1:1/x" });
    await assert.rejects(pull(`${registry.host}/a/b:v1`), {
      code: "redirect-refused",
      message: /from https to plain http/,
    });
    const realm = "http://127.0.0.1:1/token";
    const asking = await start({ tls: await serverTls(), auth: { kind: "bearer", realm } });
    await configure(asking.host, `server = "${asking.origin}"\nca = "${pem("ca")}"`);
    await assert.rejects(pull(`${asking.host}/a/b:v1`), { code: "registry-protocol", message: /over plain http/ });
  });
});
