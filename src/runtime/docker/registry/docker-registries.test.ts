import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { registriesOfFile, registriesOfInfo } from "./docker-registries.ts";

const loopback = ["127.0.0.0/8", "::1/128"];
const secret = "canary-7d1e-password";

describe("what Docker says of registries", () => {
  test("is read from its own answer", () => {
    const { registries, problem } = registriesOfInfo({
      RegistryConfig: {
        Mirrors: ["https://mirror.example/"],
        InsecureRegistryCIDRs: ["10.0.0.0/8", "::1/128"],
        IndexConfigs: {
          "docker.io": { Name: "docker.io", Mirrors: ["https://mirror.example/"], Secure: true, Official: true },
          "r.example:5000": { Name: "r.example:5000", Mirrors: null, Secure: false, Official: false },
        },
      },
      HttpProxy: "http://xxxxx:xxxxx@proxy.example",
      HttpsProxy: "",
      NoProxy: ".svc",
    });
    assert.equal(problem, undefined);
    assert.deepEqual(registries, {
      mirrors: ["https://mirror.example/"],
      isSecure: new Map([
        ["docker.io", true],
        ["r.example:5000", false],
      ]),
      insecureBlocks: ["10.0.0.0/8", "::1/128"],
      proxies: { http: "http://xxxxx:xxxxx@proxy.example", no: ".svc" },
    });
  });

  test("is read from daemon.json, with what dockerd adds to it", () => {
    const { registries } = registriesOfFile(`\uFEFF{
      "registry-mirrors": ["https://mirror.example"], "data-root": "/x",
      "insecure-registries": ["10.1.0.0/16", "http://r.example:5000", "index.docker.io", "fd00::/8", "10.0.0.0/33"],
      "proxies": {"https-proxy": "http://p:3128"}}`);
    assert.deepEqual(registries, {
      mirrors: ["https://mirror.example"],
      isSecure: new Map(["r.example:5000", "docker.io", "10.0.0.0/33"].map((host) => [host, false])),
      insecureBlocks: ["10.1.0.0/16", "fd00::/8", ...loopback],
      proxies: { https: "http://p:3128" },
    });
    assert.deepEqual(registriesOfFile("").registries.insecureBlocks, loopback);
  });

  test("keeps to what dockerd has without settings where it does not fit, and says where, not what", () => {
    const wrong = [`{"proxies": {"http-proxy": ["${secret}"]}}`, `{"registry-mirrors": "${secret}"}`, `["${secret}"]`];
    for (const text of [...wrong, `{"registry-mirrors": ["${secret}"`, "null", `"${secret}"`]) {
      const { registries, problem } = registriesOfFile(text);
      assert.deepEqual([registries.mirrors, registries.insecureBlocks, registries.proxies], [[], loopback, {}]);
      assert.match(problem ?? "", /must be/);
      assert.ok(!problem?.includes(secret));
    }
    for (const info of [undefined, null, [], { RegistryConfig: { IndexConfigs: { a: {} } } }, { HttpProxy: 1 }])
      assert.match(registriesOfInfo(info).problem ?? "", /must be/);
  });

  test("never throws, and never believes in a block that is none, whatever is there", () => {
    const listed = fc.array(fc.oneof(fc.string(), fc.ipV4Extended(), fc.ipV6(), fc.webUrl()));
    const documents = fc.oneof(
      fc.jsonValue(),
      fc.record({ "registry-mirrors": listed, "insecure-registries": listed, proxies: fc.jsonValue() }),
      fc.record({
        RegistryConfig: fc.record({ Mirrors: listed, InsecureRegistryCIDRs: listed, IndexConfigs: fc.jsonValue() }),
      }),
    );
    fc.assert(
      fc.property(documents, (document) => {
        for (const { registries } of [registriesOfInfo(document), registriesOfFile(JSON.stringify(document))]) {
          assert.ok(registries.insecureBlocks.every((block) => /^[0-9a-f.:]+\/\d{1,3}$/i.test(block)));
          assert.ok([...registries.mirrors, ...registries.isSecure.keys()].every((each) => typeof each === "string"));
        }
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => void registriesOfFile(text)));
  });

  test("takes every block of addresses for one", () => {
    const blocks = fc.oneof(
      fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
      fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
    );
    fc.assert(
      fc.property(blocks, ([address, bits]) => {
        const block = `${address}/${bits}`;
        const { registries } = registriesOfFile(JSON.stringify({ "insecure-registries": [block] }));
        assert.deepEqual(registries.insecureBlocks, [block, ...loopback]);
      }),
    );
  });
});
