import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { type DockerServers, dockerEndpoints } from "./docker-endpoints.ts";

const hub = "https://registry-1.docker.io";

function servers(known: Partial<DockerServers["registries"]>, others: Partial<DockerServers> = {}): DockerServers {
  const registries = { mirrors: [], isSecure: new Map(), insecureBlocks: ["127.0.0.0/8", "::1/128"], proxies: {} };
  return {
    registries: { ...registries, ...known },
    readsHostsFiles: false,
    local: (path) => `/nodewarm-none${path}`,
    addressesOf: async () => [],
    ...others,
  };
}

const unexpected = (message: string) => assert.fail(message);

/** `origin` and what is special of each endpoint. */
async function shown(known: DockerServers, host: string, onProblem: (message: string) => void = unexpected) {
  const endpoints = await dockerEndpoints(known, host, onProblem);
  return endpoints.map(({ origin, apiPath, tls, fallsBackToHttp, namespace }) =>
    [
      `${origin}${apiPath}`,
      ...(tls.skipVerify ? ["skips"] : []),
      ...(fallsBackToHttp ? ["falls back"] : []),
      ...(namespace === undefined ? [] : [`for ${namespace}`]),
      ...tls.authorities.map((text) => `trusts ${text}`),
      ...tls.client.map(({ certificate, key }) => `shows ${certificate} ${key}`),
    ].join(", "),
  );
}

describe("servers as Docker has them", () => {
  test("mirrors come before Docker Hub, and before nothing else", async () => {
    const known = servers({
      mirrors: ["https://one.example/", "http://two.example:5000", "three.example/cache"],
      isSecure: new Map([["one.example", false]]),
    });
    assert.deepEqual(await shown(known, "docker.io"), [
      "https://one.example/v2, skips, falls back, for docker.io",
      "http://two.example:5000/v2, for docker.io",
      "https://three.example/cache/v2, for docker.io",
      `${hub}/v2`,
    ]);
    assert.deepEqual(await shown(known, "other.example"), ["https://other.example/v2"]);
  });

  test("a mirror that is no URL of a server is told, without its text, and left out", async () => {
    const mirrors = ["https://user:canary@m.example", "ftp:canary:x y", "https://m.example/?canary", "https://"];
    const problems: string[] = [];
    const found = await shown(servers({ mirrors }), "docker.io", (problem) => void problems.push(problem));
    assert.deepEqual(found, [`${hub}/v2`]);
    assert.equal(problems.length, mirrors.length);
    assert.ok(problems.every((problem) => !problem.includes("canary")));
  });

  test("a server is insecure by its name, or by an address that it has", async () => {
    const addressesOf = async (name: string) => (name === "in.example" ? ["192.0.2.9", "10.1.2.3"] : ["192.0.2.9"]);
    const isSecure = new Map([
      ["named.example:5000", false],
      ["10.9.9.9", true],
    ]);
    const known = servers({ isSecure, insecureBlocks: ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8"] }, { addressesOf });
    const insecure = ["named.example:5000", "in.example", "10.2.3.4:5000", "[fd00::1]:5000", "127.0.0.1:80"];
    for (const host of insecure)
      assert.deepEqual(await shown(known, host), [`https://${host}/v2, skips, falls back`], host);
    for (const host of ["named.example", "out.example", "10.9.9.9", "[fe00::1]:5000", "11.0.0.1"])
      assert.deepEqual(await shown(known, host), [`https://${host}/v2`], host);
  });

  test("certificates are in the folder of the server, and hosts.toml counts only with the containerd store", async () => {
    await using scope = new AsyncDisposableStack();
    const root = await temporaryDirectory(scope, "docker");
    const folder = join(root, "etc/docker/certs.d/r.example:5000");
    await mkdir(folder, { recursive: true });
    for (const name of ["a.crt", "me.cert", "me.key"]) await writeFile(join(folder, name), name);
    const local = (path: string) => join(root, path);
    const secure = ["https://r.example:5000/v2, trusts a.crt, shows me.cert me.key"];
    for (const readsHostsFiles of [false, true])
      assert.deepEqual(await shown(servers({}, { local, readsHostsFiles }), "r.example:5000"), secure);
    await writeFile(join(folder, "hosts.toml"), '[host."https://mirror.example"]\n');
    assert.deepEqual(await shown(servers({}, { local }), "r.example:5000"), secure);
    assert.deepEqual(await shown(servers({}, { local, readsHostsFiles: true }), "r.example:5000"), [
      "https://mirror.example/v2, for r.example:5000",
      "https://r.example:5000/v2",
    ]);
  });

  test("whatever mirrors are configured, the registry itself comes last, and nothing that is no URL is asked", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.string(), fc.webUrl(), fc.domain())), async (mirrors) => {
        const endpoints = await dockerEndpoints(servers({ mirrors }), "docker.io", () => {});
        assert.equal(endpoints.at(-1)?.origin, hub);
        for (const { origin, apiPath } of endpoints) {
          assert.equal(new URL(origin).origin, origin);
          assert.match(apiPath, /(^|\/)v2$/);
        }
      }),
      { numRuns: 50 },
    );
  });
});
