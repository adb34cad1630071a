import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { makeCertificates } from "../../../test/support/certificates.ts";
import {
  type FaultRegistry,
  type FaultRegistryOptions,
  startFaultRegistry,
} from "../../../test/support/fault-registry.ts";
import { type MadeImage, makeImage } from "../../../test/support/image-maker.ts";
import { listen } from "../../../test/support/registry.ts";
import { registryAccess } from "../../../test/support/registry-access.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ContainerdRegistryAccess } from "../../runtime/containerd/registry/registry-access.ts";
import { RegistryImageResolver } from "./registry-image-resolver.ts";
import { registriesSchema } from "./registry-settings.ts";

/** What AgentConfig changes of how the runtime reaches registries. */

const scope = new AsyncDisposableStack();
const { signal } = new AbortController();
let layout: string;
let pem: (name: string) => string;
let image: MadeImage;
let hosts: string;

before(async () => {
  layout = await temporaryDirectory(scope, "override");
  const certificates = await temporaryDirectory(scope, "override");
  makeCertificates(certificates);
  pem = (name) => join(certificates, `${name}.pem`);
  image = await makeImage(layout, { layers: [{ tar: randomBytes(1000), compression: "none" }] });
});
beforeEach(async () => {
  hosts = await temporaryDirectory(scope, "hosts");
});
after(() => scope.disposeAsync());

async function start(tls?: FaultRegistryOptions["tls"]): Promise<FaultRegistry> {
  const tags = { "a/b:v1": image.manifest, "team/app:v1": image.manifest };
  const registry = await startFaultRegistry({ layoutDirectory: layout, tags, ...(tls && { tls }) });
  scope.defer(() => registry.stop());
  return registry;
}

async function configure(host: string, text: string): Promise<void> {
  await mkdir(join(hosts, host), { recursive: true });
  await writeFile(join(hosts, host, "hosts.toml"), text);
}

type Overrides = readonly Readonly<Record<string, unknown>>[];

function resolverOf(overrides: () => Overrides, access: Partial<ContainerdRegistryAccess> = {}): RegistryImageResolver {
  const resolver = new RegistryImageResolver({
    access: async () => registryAccess({ hostsDirectories: [join(hosts, "none"), hosts], ...access }),
    settings: () => ({ registries: registriesSchema.parse(overrides()), dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
    limits: { "fetch-retries": 0 },
    reloadAfterMs: 0,
    accessAgeMs: 0,
  });
  scope.defer(() => resolver.close());
  return resolver;
}

const resolve = (resolver: RegistryImageResolver, name: string) =>
  resolver.resolveTag(parseReference(`${name}:v1`), { signal });

test("its mirrors take the place of the runtime's, for the longest prefix that fits", async () => {
  const [old, mirror, team] = [await start(), await start(), await start()];
  await configure("registry.example", `[host."${old.origin}"]`);
  const overrides = [
    { prefix: "*.example", mirrors: [{ url: mirror.origin }] },
    {
      prefix: "registry.example/team",
      mirrors: [{ url: mirror.origin, resolve: false }, { url: `${team.origin}/v2/` }],
    },
  ];
  const resolver = resolverOf(() => overrides);
  await resolve(resolver, "registry.example/a/b");
  await resolve(resolver, "registry.example/team/app");
  assert.deepEqual(
    [old, mirror, team].map(({ requests }) => requests.map(({ path }) => path)),
    [[], ["/v2/a/b/manifests/v1?ns=registry.example"], ["/v2/team/app/manifests/v1?ns=registry.example"]],
  );
});

test("authorities, a client certificate and plain HTTP make a registry usable; changes count at once", async () => {
  const tls = { key: await readFile(pem("server-key"), "utf8"), cert: await readFile(pem("server"), "utf8") };
  const registry = await start({ ...tls, ca: await readFile(pem("ca"), "utf8"), requestCert: true });
  await configure(registry.host, `server = "${registry.origin}"`);
  let override: Record<string, unknown> = { prefix: registry.host };
  const resolver = resolverOf(() => [override]);
  const name = `${registry.host}/a/b`;
  await assert.rejects(resolve(resolver, name), { message: /name it in registries\[\]\.authorities of AgentConfig/ });
  override = { ...override, authorities: [pem("ca")] };
  await assert.rejects(resolve(resolver, name), { code: "registry-unreachable" });
  const client = { certificate: pem("client"), key: pem("client-key") };
  override = { ...override, client };
  await resolve(resolver, name);
  override = { prefix: registry.host, client, skipVerify: true };
  await resolve(resolver, name);
  override = { ...override, authorities: ["/no/such/file"] };
  const unreadable = { code: "invalid-configuration", message: /\/no\/such\/file, which AgentConfig names/ };
  await assert.rejects(resolve(resolver, name), unreadable);

  const plain = await start();
  await configure(plain.host, `server = "https://${plain.host}"`);
  override = { prefix: plain.host };
  await assert.rejects(resolve(resolver, `${plain.host}/a/b`), {
    message: /set registries\[\]\.plainHttp in AgentConfig/,
  });
  override = { prefix: plain.host, plainHttp: true };
  await resolve(resolver, `${plain.host}/a/b`);
});

test("a proxy of its own takes the place of the runtime's, or none does", async () => {
  const registry = await start();
  const asked: string[] = [];
  const proxyNamed = async (name: string) => {
    const proxy = await listen((incoming, outgoing) => {
      const url = new URL(incoming.url ?? "");
      asked.push(`${name} ${url.host}`);
      const upstream = request(`${registry.origin}${url.pathname}`, { method: incoming.method }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      upstream.end();
    });
    scope.defer(() => proxy.stop());
    return `http://${proxy.host}`;
  };
  const [own, runtime] = [await proxyNamed("own"), await proxyNamed("runtime")];
  for (const host of ["a.example", "b.example", "c.example"]) await configure(host, `server = "http://${host}"`);
  const overrides = [
    { prefix: "b.example", proxy: own },
    { prefix: "c.example", proxy: "none" },
  ];
  const resolver = resolverOf(() => overrides, { environment: { HTTP_PROXY: runtime } });
  await resolve(resolver, "a.example/a/b");
  await resolve(resolver, "b.example/a/b");
  await assert.rejects(resolve(resolver, "c.example/a/b"), { code: "registry-unreachable" });
  assert.deepEqual(asked, ["runtime a.example", "own b.example"]);
});

test("the password of a proxy is in no error", async () => {
  const secret = "canary-90c1-proxy";
  const proxy = await listen((_, outgoing) => outgoing.writeHead(407).end(secret));
  scope.defer(() => proxy.stop());
  proxy.server.on("connect", (_, socket) => socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
  for (const host of [proxy.host, "127.0.0.1:1", "no.such.invalid:1"]) {
    const url = `http://user:${secret}@${host}`;
    for (const override of [[], [{ prefix: "registry.example", proxy: url }]]) {
      const resolver = resolverOf(() => override, { environment: { HTTPS_PROXY: url } });
      const error = await resolve(resolver, "registry.example/a/b").then(
        () => assert.fail("it was resolved"),
        (reason: unknown) => inspect(reason, { depth: 20, showHidden: true }),
      );
      assert.match(error, /registry\.example/);
      assert.ok(!error.includes(secret), error);
    }
  }
});

test("a hosts.toml that changes counts, and one that is broken is told and left out, as containerd does", async () => {
  const [one, two] = [await start(), await start()];
  await configure("registry.example", `[host."${one.origin}"]`);
  const resolver = resolverOf(() => []);
  await resolve(resolver, "registry.example/a/b");
  await configure("registry.example", `[host."${two.origin}"]`);
  await resolve(resolver, "registry.example/a/b");
  assert.deepEqual([one.requests.length, two.requests.length], [1, 1]);
  await configure(one.host, "[host");
  await resolve(resolver, `${one.host}/a/b`);
  assert.match(resolver.problems.join("\n"), /hosts\.toml is not valid TOML/);
  await configure(one.host, "");
  await resolve(resolver, `${one.host}/a/b`);
  assert.deepEqual(resolver.problems, []);
});

test("a runtime that starts after the agent is read again soon, and one that stops is not forgotten", async () => {
  const registry = await start();
  await configure("registry.example", `[host."${registry.origin}"]`);
  let isRunning = false;
  const resolver = new RegistryImageResolver({
    access: async () => registryAccess({ isRunning, hostsDirectories: isRunning ? [hosts] : [] }),
    settings: () => ({ registries: [], dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
    limits: { "fetch-retries": 0 },
    reloadAfterMs: 0,
    accessAgeMs: 50,
  });
  scope.defer(() => resolver.close());
  await assert.rejects(resolve(resolver, "registry.example/a/b"), { code: "registry-unreachable" });
  for (isRunning of [true, false]) {
    await sleep(60);
    await resolve(resolver, "registry.example/a/b");
  }
});

test("what was last known of the runtime holds while it cannot be asked", async () => {
  const registry = await start();
  await configure("registry.example", `[host."${registry.origin}"]`);
  let isDown = false;
  const resolver = new RegistryImageResolver({
    access: async () => {
      if (isDown) throw new Error("containerd is gone");
      return registryAccess({ hostsDirectories: [hosts] });
    },
    settings: () => ({ registries: [], dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
    accessAgeMs: 0,
  });
  scope.defer(() => resolver.close());
  await resolve(resolver, "registry.example/a/b");
  isDown = true;
  await resolve(resolver, "registry.example/a/b");
});
