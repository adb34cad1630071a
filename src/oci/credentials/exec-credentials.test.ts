import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import {
  answering,
  makeProviders,
  providerApi,
  type TestProviders,
} from "../../../test/support/credential-provider.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import type { Credential } from "./credential.ts";
import { ExecCredentials } from "./exec-credentials.ts";

const { signal } = new AbortController();
const secret = "canary-77aa-secret";
let scope: AsyncDisposableStack;
let providers: TestProviders;
let problems: Map<string, string>;
let nowMs: number;

beforeEach(async () => {
  scope = new AsyncDisposableStack();
  providers = await makeProviders(scope);
  problems = new Map();
  nowMs = 1e12;
});
afterEach(() => scope.disposeAsync());

function lookups(options: { readonly timeoutMs?: number; readonly environment?: Record<string, string> } = {}) {
  const { config, binaries } = providers;
  const environment = { PATH: process.env.PATH, ...options.environment };
  return new ExecCredentials({
    places: async () => ({ config, binaries, environment }),
    onProblem: (name, message) => (message === undefined ? problems.delete(name) : problems.set(name, message)),
    now: () => nowMs,
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  }).lookup;
}

function auth(entries: Record<string, string>): Record<string, { username: string; password: string }> {
  return Object.fromEntries(Object.entries(entries).map(([key, name]) => [key, { username: name, password: secret }]));
}

function nameOf(credential: Credential | undefined): string | undefined {
  return credential?.kind === "password" ? credential.username : undefined;
}

describe("a credential provider", () => {
  test("gets the request of kubelet's protocol in each of its versions", async () => {
    for (const version of ["v1", "v1beta1", "v1alpha1"]) {
      const apiVersion = `credentialprovider.kubelet.k8s.io/${version}`;
      await providers.program(
        version,
        answering({ cacheKeyType: "Image", auth: auth({ "a.example": version }) }, apiVersion),
      );
      await providers.configure({ name: version, apiVersion });
      assert.equal(nameOf(await lookups()("a.example", "team/app", signal)), version);
    }
    const expected = ["v1", "v1beta1", "v1alpha1"].map((version) => ({
      kind: "CredentialProviderRequest",
      apiVersion: `credentialprovider.kubelet.k8s.io/${version}`,
      image: "a.example/team/app",
    }));
    assert.deepEqual(await providers.requests(), expected);
    assert.equal(problems.size, 0);
  });

  test("gets its arguments, the variables of its configuration and, below them, those of kubelet", async () => {
    const answer =
      '{"kind":"CredentialProviderResponse","apiVersion":"%s","cacheKeyType":"Image","auth":{"*.example":{"username":"%s","password":"x"}}}';
    await providers.program("p", `printf '${answer}' '${providerApi}' "$*/$ONE/$TWO"`);
    await providers.configure({ name: "p", args: ["a b", "c"], env: [{ name: "ONE", value: "own" }] });
    const lookup = lookups({ environment: { ONE: "kubelet", TWO: "kubelet" } });
    assert.equal(nameOf(await lookup("a.example", "x", signal)), "a b c/own/kubelet");
  });

  test("is asked only for images that it is for", async () => {
    await providers.program("p", answering({ cacheKeyType: "Image", auth: auth({ "*.example": "user" }) }));
    await providers.configure({ name: "p", matchImages: ["*.example/team"] });
    const lookup = lookups();
    assert.equal(await lookup("a.example", "other/app", signal), undefined);
    assert.equal(await lookup("a.b.example", "team/app", signal), undefined);
    assert.equal((await providers.requests()).length, 0);
    assert.equal(nameOf(await lookup("a.example", "team/app", signal)), "user");
  });

  for (const [type, runs] of [
    ["Image", 3],
    ["Registry", 2],
    ["Global", 1],
  ] as const) {
    test(`is asked again for another image, registry or never: ${type}`, async () => {
      await providers.program("p", answering({ cacheKeyType: type, auth: auth({ "*.example": "user" }) }));
      await providers.configure({ name: "p" });
      const lookup = lookups();
      for (const [host, path] of [
        ["a.example", "one"],
        ["a.example", "two"],
        ["b.example", "one"],
        ["a.example", "one"],
      ] as const) {
        assert.equal(nameOf(await lookup(host, path, signal)), "user");
      }
      assert.equal((await providers.requests()).length, runs);
    });
  }

  test("is asked again when what it gave ends: as it says, else as its configuration says", async () => {
    await providers.program(
      "p",
      answering({ cacheKeyType: "Global", cacheDuration: "1m30s", auth: auth({ "*.example": "user" }) }),
    );
    await providers.program("q", answering({ cacheKeyType: "Global", cacheDuration: null, auth: {} }));
    await providers.program("r", answering({ cacheKeyType: "Global", cacheDuration: "0s", auth: {} }));
    await providers.configure({ name: "p" }, { name: "q", defaultCacheDuration: "10m0s" }, { name: "r" });
    const lookup = lookups();
    const runsAfter = async (ms: number): Promise<number> => {
      const before = (await providers.requests()).length;
      nowMs += ms;
      await lookup("a.example", "x", signal);
      return (await providers.requests()).length - before;
    };
    assert.equal(await runsAfter(0), 3);
    assert.equal(await runsAfter(89_000), 1, "what must not be kept is asked for each time");
    assert.equal(await runsAfter(2000), 2);
    assert.equal(await runsAfter(600_000), 3);
    assert.equal(await runsAfter(-3_600_000), 3, "a clock that went back");
  });

  test("is asked again when the registry refuses what it gave before, but not at once", async () => {
    await providers.program("p", answering({ cacheKeyType: "Global", auth: auth({ "*.example": "old" }) }));
    await providers.configure({ name: "p" });
    const lookup = lookups();
    const old = await lookup("a.example", "x", signal);
    assert.ok(old);
    assert.equal(await lookup("a.example", "x", signal, [old]), undefined);
    assert.equal((await providers.requests()).length, 1);
    nowMs += 11_000;
    await providers.program("p", answering({ cacheKeyType: "Global", auth: auth({ "*.example": "new" }) }));
    assert.equal(nameOf(await lookup("a.example", "x", signal, [old])), "new");
    assert.equal(nameOf(await lookup("a.example", "x", signal)), "new");
  });

  test("that several ask at the same time for the same image runs once", async () => {
    await providers.program(
      "p",
      `sleep 0.2\n${answering({ cacheKeyType: "Image", auth: auth({ "*.example": "user" }) })}`,
    );
    await providers.configure({ name: "p" });
    const lookup = lookups();
    const found = await Promise.all([1, 2, 3, 4].map(() => lookup("a.example", "x", signal)));
    assert.deepEqual(found.map(nameOf), ["user", "user", "user", "user"]);
    assert.equal((await providers.requests()).length, 1);
  });

  test("may give several keys; the most specific that fits counts, the next where that is refused", async () => {
    const keys = { "*.example": "glob", "a.example": "host", "https://a.example/v2/": "url", "a.example/team": "team" };
    await providers.program("p", answering({ cacheKeyType: "Image", auth: { ...auth(keys), "b.example": null } }));
    await providers.configure({ name: "p" });
    const broken = await lookups()("a.example", "team/app", signal);
    assert.equal(broken, undefined, "a field of the wrong type");
    await providers.program("p", answering({ cacheKeyType: "Image", auth: auth(keys) }));
    const lookup = lookups();
    const refused: Credential[] = [];
    for (const name of ["team", "host", "url", "glob"]) {
      const found = await lookup("a.example", "team/app", signal, refused);
      assert.ok(found);
      refused.push(found);
      assert.ok(
        ["host", "url"].includes(name) ? ["host", "url"].includes(nameOf(found) ?? "") : nameOf(found) === name,
      );
    }
  });

  test("has docker's key for Docker Hub", async () => {
    await providers.program(
      "p",
      answering({ cacheKeyType: "Image", auth: auth({ "https://index.docker.io/v1/": "hub" }) }),
    );
    await providers.configure({ name: "p", matchImages: ["docker.io"] });
    assert.equal(nameOf(await lookups()("docker.io", "library/nginx", signal)), "hub");
  });

  test("comes after those before it in the configuration, which is read again when it changes", async () => {
    for (const name of ["one", "two"]) {
      await providers.program(name, answering({ cacheKeyType: "Global", auth: auth({ "*.example": name }) }));
    }
    await providers.configure({ name: "one" }, { name: "two" });
    const lookup = lookups();
    assert.equal(nameOf(await lookup("a.example", "x", signal)), "one");
    await providers.configure({ name: "two" }, { name: "one", args: ["so that the file has another size"] });
    assert.equal(nameOf(await lookup("a.example", "x", signal)), "two");
  });

  test("that wants a service account's token is not asked, and that is said", async () => {
    await providers.program("p", answering({ cacheKeyType: "Global", auth: auth({ "*.example": "user" }) }));
    const tokenAttributes = { serviceAccountTokenAudience: "x", cacheType: "Token", requireServiceAccount: true };
    await providers.configure({ name: "p", tokenAttributes });
    assert.equal(await lookups()("a.example", "x", signal), undefined);
    assert.match(
      problems.get("p") ?? "",
      /service account token of a pod .* give credentials for a\.example\/x in AgentConfig/,
    );
    await providers.configure({ name: "p", tokenAttributes: { ...tokenAttributes, requireServiceAccount: false } });
    assert.equal(nameOf(await lookups()("a.example", "x", signal)), "user");
  });
});

describe("a credential provider that fails", () => {
  for (const [what, script, message, timeoutMs] of [
    ["ends badly", `echo ${secret}; echo ${secret} >&2; exit 3`, /failed with exit status 3/],
    ["gives no JSON", `echo ${secret}`, /not JSON/],
    [
      "answers in another version",
      answering({ cacheKeyType: "Image", auth: {} }, "credentialprovider.kubelet.k8s.io/v1beta1"),
      /did not answer in the version/,
    ],
    [
      "answers with another kind",
      `echo '{"kind":"${secret}","apiVersion":"${providerApi}","cacheKeyType":"Image"}'`,
      /no CredentialProviderResponse/,
    ],
    ["names no cacheKeyType", answering({ cacheKeyType: secret, auth: {} }), /without a cacheKeyType/],
    ["names no duration", answering({ cacheKeyType: "Image", cacheDuration: secret }), /no duration/],
    [
      "gives a wrong field",
      answering({ cacheKeyType: "Image", auth: { [secret]: { password: 5 } } }),
      /wrong field auth/,
    ],
    ["says too much", `while :; do echo ${secret}${secret}${secret}${secret}; done`, /answered too much/],
    // Two programs are started in that time, on a machine that may be busy.
    ["does not answer", "sleep 60 & sleep 60", /did not answer in time/, 5000],
  ] as const) {
    test(`${what} gives nothing, and no word of its own gets out`, async () => {
      await providers.program("p", script);
      await providers.program("q", answering({ cacheKeyType: "Global", auth: auth({ "*.example": "next" }) }));
      await providers.configure({ name: "p" }, { name: "q" });
      assert.equal(
        nameOf(await lookups(timeoutMs === undefined ? {} : { timeoutMs })("a.example", "x", signal)),
        "next",
      );
      assert.match(problems.get("p") ?? "", message);
      assert.ok(![...problems].flat().join("\n").includes(secret), [...problems].flat().join("\n"));
    });
  }

  test("is there no more", async () => {
    await providers.configure({ name: "missing" });
    assert.equal(await lookups()("a.example", "x", signal), undefined);
    assert.match(problems.get("missing") ?? "", /cannot be started .*ENOENT/);
  });

  test("is killed with all that it started when it is given up", async () => {
    await providers.program("p", "sleep 3217 & sleep 3218");
    await providers.configure({ name: "p" });
    const controller = new AbortController();
    const asked = lookups()("a.example", "x", controller.signal);
    await waitUntil("both sleep", async () => (await sleepers()).length === 2);
    controller.abort(new Error("given up"));
    await assert.rejects(asked, /given up/);
    await waitUntil("both are gone", async () => (await sleepers()).length === 0);
  });

  for (const [what, file] of [
    ["that is not YAML", `{${secret}`],
    ["of another kind", `{"apiVersion":"v1","kind":"${secret}","providers":[]}`],
    ["without providers", '{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[]}'],
  ] as const) {
    test(`has a configuration ${what}`, async () => {
      await writeFile(providers.config, file);
      assert.equal(await lookups()("a.example", "x", signal), undefined);
      const message = problems.get(providers.config) ?? "";
      assert.match(message, /kubelet's credential provider configuration/);
      assert.ok(!message.includes(secret), message);
    });
  }

  for (const provider of [
    { name: "../p" },
    { name: "p q" },
    { name: "p", matchImages: [] },
    { name: "p", matchImages: ["[a.example"] },
    { name: "p", apiVersion: "v1" },
    { name: "p", defaultCacheDuration: "-5m" },
    { name: "p", defaultCacheDuration: "soon" },
    { name: "p", env: [{ name: "A" }] },
  ]) {
    test(`is configured wrongly: ${JSON.stringify(provider)}`, async () => {
      await providers.configure(provider);
      assert.equal(await lookups()("a.example", "x", signal), undefined);
      assert.match(problems.get(providers.config) ?? "", /providers\.0\./);
    });
  }
});

async function sleepers(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return commands.filter((command) => ["sleep 3217", "sleep 3218"].includes(command.split("\0").slice(0, 2).join(" ")));
}
