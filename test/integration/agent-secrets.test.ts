import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

const passwords = { file: "canary-in-a-password-file", config: "canary-in-a-docker-config", wrong: "canary-refused" };
const basicOf = (password: string) => Buffer.from(`robot:${password}`).toString("base64");
const canaries = Object.values(passwords).flatMap((password) => [password, basicOf(password)]);

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
    const lines = node.log.trim().split("\n");
    const [address] = lines.flatMap((line) => {
      const { event, address: at } = JSON.parse(line) as { event: string; address?: string };
      return event === "listening" && at !== undefined ? [at] : [];
    });
    assert.ok(address, node.log);
    const metrics = await (await fetch(`http://${address}/metrics`)).text();
    assert.match(metrics, /^nodewarm_failures_total/m);
    const seen = {
      status: (await node.command("status")).stdout,
      json: (await node.command("status", "--json")).stdout,
      metrics,
      health: await (await fetch(`http://${address}/readyz`)).text(),
      state: await readFile(join(node.state, "state.json"), "utf8"),
      once: "",
      log: "",
      runtime: await readFile(join(node.daemon.directory, "log"), "utf8"),
      images: await node.daemon.ctr("-n", "k8s.io", "images", "ls"),
      content: await node.daemon.ctr("-n", "k8s.io", "content", "ls"),
    };
    assert.equal(await node.stop(), 0);
    const once = await node.runOnce();
    assert.equal(once.code, 1);
    const all = { ...seen, once: `${once.stdout}${once.stderr}`, log: node.log, lines: commandLines.text() };
    for (const [where, text] of Object.entries(all)) {
      assert.notEqual(text, "", where);
      for (const canary of canaries) assert.ok(!text.includes(canary), `${where} holds ${canary}:\n${text}`);
    }
  });
});

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
