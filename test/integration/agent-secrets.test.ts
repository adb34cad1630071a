import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { answering, makeProviders } from "../support/credential-provider.ts";
import { type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

const passwords = { file: "canary-in-a-password-file", config: "canary-in-a-docker-config", wrong: "canary-refused" };
/** What programs give; each gives another one later. */
const given = { helper: "canary-of-a-helper", store: "canary-of-a-store", provider: "canary-of-a-provider" };
const spilled = "canary-that-a-program-spills";
const later = "-renewed";
const basicOf = (password: string) => Buffer.from(`robot:${password}`).toString("base64");
const canaries = [
  ...Object.values(passwords),
  ...Object.values(given).flatMap((each) => [each, each + later]),
  spilled,
].flatMap((password) => [password, basicOf(password)]);

const runtime = (await outermostRuntimes()).at(-1);

describe(`credentials of nodewarm agent, ${runtime?.name}`, { skip: runtime?.reason ?? false }, () => {
  const scope = new AsyncDisposableStack();
  let node: AgentNode;
  before(async () => {
    assert.ok(runtime);
    node = await AgentNode.start(scope, runtime);
  });
  after(() => scope.disposeAsync());

  const registry = async (kind: "basic" | "bearer", password: string): Promise<FaultRegistry> => {
    const { layout, tool } = node.images;
    const auth = { kind, username: "robot", password };
    const started = await startFaultRegistry({ layoutDirectory: layout, tags: { "a/b:v1": tool.manifest }, auth });
    scope.defer(() => started.stop());
    return started;
  };

  test("are used, and are in no output, metric, status, error, state or command line, right or wrong", async () => {
    const [byFile, byConfig, refused] = [
      await registry("basic", passwords.file),
      await registry("bearer", passwords.config),
      await registry("basic", "another"),
    ];
    const folder = await temporaryDirectory(scope, "secrets");
    const [passwordFile, wrongFile, dockerConfig] = ["right", "wrong", "config.json"].map((each) => join(folder, each));
    assert.ok(passwordFile && wrongFile && dockerConfig);
    await writeFile(passwordFile, `${passwords.file}\n`);
    await writeFile(wrongFile, `${passwords.wrong}\n`);
    await writeFile(dockerConfig, JSON.stringify({ auths: { [byConfig.host]: { auth: basicOf(passwords.config) } } }));
    const withFile = ({ host }: FaultRegistry, file: string) => ({
      prefix: host,
      plainHttp: true,
      credentials: { username: "robot", passwordFile: file },
    });
    const refs = [byFile, byConfig, refused].map(({ host }) => `${host}/a/b:v1`);
    await node.configure(
      refs.map((ref) => ({ ref, refresh: { interval: "10s" } })),
      {
        registries: [
          withFile(byFile, passwordFile),
          { prefix: byConfig.host, plainHttp: true },
          withFile(refused, wrongFile),
        ],
        dockerConfigs: [dockerConfig],
      },
    );
    using commandLines = watchCommandLines(scope);
    await node.startAgent("--json-log", "--listen", "127.0.0.1:0");
    const [first = "", second = "", third = ""] = refs;
    const status = await node.until(
      "two are warm and one is refused",
      (now) =>
        [first, second].every((ref) => imageIn(now, ref)?.phase === "Warm") &&
        imageIn(now, third)?.lastError !== undefined,
    );
    assert.match(imageIn(status, third)?.lastError ?? "", /401|credentials|refused|denied/i);
    await writeFile(wrongFile, `${passwords.wrong}-too\n`);
    assertNowhere({ ...(await shownBy(node)), ...(await shownAtLast(node)), lines: commandLines.text() });
  });

  test("of helpers and of kubelet's providers are used, asked for anew when they have changed, and show nowhere", async () => {
    const { layout, tool, app } = node.images;
    const tags: Record<string, Descriptor> = { "a/b:v1": tool.manifest };
    const protectedBy = async (kind: "basic" | "bearer", password: string) => {
      const auth = { kind, username: "robot", password };
      const started = await startFaultRegistry({ layoutDirectory: layout, tags, auth });
      scope.defer(() => started.stop());
      return { host: started.host, auth, registry: started };
    };
    const [byHelper, byStore, byProvider, byBroken, byBrokenProvider] = [
      await protectedBy("basic", given.helper),
      await protectedBy("bearer", given.store),
      await protectedBy("basic", given.provider),
      await protectedBy("basic", "another"),
      await protectedBy("bearer", "another"),
    ];
    const right = [byHelper, byStore, byProvider];
    const folder = await temporaryDirectory(scope, "programs");
    // Each gives what a file holds, and says more than it should where nobody is to listen.
    const secretFile = (name: string) => join(folder, `${name}.secret`);
    for (const [name, secret] of Object.entries(given)) await writeFile(secretFile(name), secret);
    const program = (name: string, script: string) =>
      writeFile(join(folder, name), `#!/bin/sh\n${script}`, { mode: 0o755 });
    const spill = `echo ${spilled} >&2\n`;
    for (const name of ["helper", "store"])
      await program(
        `docker-credential-${name}`,
        `${spill}printf '{"ServerURL":"","Username":"robot","Secret":"%s"}' "$(cat ${secretFile(name)})"\n`,
      );
    await program("docker-credential-broken", `${spill}echo "${spilled}"\nexit 1\n`);
    const providers = await makeProviders(scope);
    const answer = answering({
      cacheKeyType: "Registry",
      cacheDuration: "2s",
      auth: { [byProvider.host]: { username: "robot", password: "SECRET" } },
    });
    await providers.program("canary", `${spill}(\n${answer}) | sed "s/SECRET/$(cat ${secretFile("provider")})/"\n`);
    await providers.program("broken", `${spill}echo "${spilled}"\nexit 1\n`);
    await providers.configure(
      { name: "canary", matchImages: [byProvider.host] },
      { name: "broken", matchImages: [byBrokenProvider.host] },
    );
    const dockerConfig = join(folder, "config.json");
    const helpers = { [byHelper.host]: "helper", [byBroken.host]: "broken" };
    await writeFile(dockerConfig, JSON.stringify({ credHelpers: helpers, auths: {} }));
    const storeConfig = join(folder, "store.json");
    await writeFile(storeConfig, JSON.stringify({ credsStore: "store" }));
    const all = [...right, byBroken, byBrokenProvider];
    const refOf = ({ host }: { readonly host: string }) => `${host}/a/b:v1`;
    node.environment.PATH = `${folder}:${process.env.PATH}`;
    await node.configure(
      all.map((each) => ({ ref: refOf(each), refresh: { interval: "10s" } })),
      {
        registries: all.map(({ host }) => ({ prefix: host, plainHttp: true })),
        dockerConfigs: [dockerConfig, storeConfig],
        credentialProviders: { config: providers.config, binaries: providers.binaries },
      },
    );
    using commandLines = watchCommandLines(scope);
    await node.startAgent("--json-log", "--listen", "127.0.0.1:0");
    const warm = (digest: string) =>
      node.until(`three are warm with ${digest}, two are refused`, (now) => {
        const isWarm = (each: { readonly host: string }) =>
          imageIn(now, refOf(each))?.phase === "Warm" && imageIn(now, refOf(each))?.digest === digest;
        const isRefused = (each: { readonly host: string }) => imageIn(now, refOf(each))?.lastError !== undefined;
        return right.every(isWarm) && [byBroken, byBrokenProvider].every(isRefused);
      });
    const status = await warm(tool.manifest.digest);
    assert.match(imageIn(status, refOf(byBroken))?.lastError ?? "", /docker-credential-broken/);
    assert.match(imageIn(status, refOf(byBrokenProvider))?.lastError ?? "", /the credential provider/);
    const asked = (await providers.requests()).length;
    for (const [name, { auth, registry: started }] of Object.entries({
      helper: byHelper,
      store: byStore,
      provider: byProvider,
    })) {
      auth.password += later;
      started.revokeTokens();
      await writeFile(secretFile(name), auth.password);
    }
    tags["a/b:v1"] = app.manifest;
    await warm(app.manifest.digest);
    assert.ok((await providers.requests()).length > asked, "the provider was asked anew");
    assertNowhere({ ...(await shownBy(node)), ...(await shownAtLast(node)), lines: commandLines.text() });
  });
});

/** What a running agent, its files and the runtime show. */
async function shownBy(node: AgentNode): Promise<Readonly<Record<string, string>>> {
  const lines = node.log.trim().split("\n");
  const addresses = lines.flatMap((line) => {
    const { event, address } = JSON.parse(line) as { event: string; address?: string };
    return event === "listening" && address !== undefined ? [address] : [];
  });
  const address = addresses.at(-1);
  assert.ok(address, node.log);
  const metrics = await (await fetch(`http://${address}/metrics`)).text();
  assert.match(metrics, /^nodewarm_failures_total/m);
  return {
    status: (await node.command("status")).stdout,
    json: (await node.command("status", "--json")).stdout,
    metrics,
    health: await (await fetch(`http://${address}/readyz`)).text(),
    runtime: await readFile(join(node.daemon.directory, "log"), "utf8"),
    images: await node.daemon.ctr("-n", "k8s.io", "images", "ls"),
    content: await node.daemon.ctr("-n", "k8s.io", "content", "ls"),
  };
}

/** What there is when it was told to stop, and what it says when it runs once after that. */
async function shownAtLast(node: AgentNode): Promise<Readonly<Record<string, string>>> {
  assert.equal(await node.stop(), 0);
  const once = await node.runOnce();
  assert.equal(once.code, 1);
  const files = await readdir(node.state, { recursive: true, withFileTypes: true });
  const state = files.filter((each) => each.isFile()).map((each) => readFile(join(each.parentPath, each.name), "utf8"));
  return { once: `${once.stdout}${once.stderr}`, log: node.log, state: (await Promise.all(state)).join("\n") };
}

function assertNowhere(all: Readonly<Record<string, string>>): void {
  for (const [where, text] of Object.entries(all)) {
    assert.notEqual(text, "", where);
    for (const canary of canaries) assert.ok(!text.includes(canary), `${where} holds ${canary}:\n${text}`);
  }
}

/** Every command line of the machine, looked at again and again. */
function watchCommandLines(scope: Scope): Disposable & { text(): string } {
  const seen = new Set<string>();
  const look = async () => {
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
    for (const line of lines) seen.add(line);
  };
  const timer = setInterval(() => void look(), 50);
  scope.defer(async () => clearInterval(timer));
  return { text: () => [...seen].join("\n"), [Symbol.dispose]: () => clearInterval(timer) };
}
