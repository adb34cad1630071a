import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentStatus } from "../../src/agent/status.ts";
import { run } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { appName, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";

const withoutInotify = join(import.meta.dirname, "../support/without-inotify.ts");
const seed = Number(process.env.NODEWARM_SEED ?? Math.floor(Math.random() * 2 ** 31));
const [runtime] = await outermostRuntimes();

describe(`nodewarm agent recovers, ${runtime?.name}`, { skip: runtime?.reason ?? false }, () => {
  const scope = new AsyncDisposableStack();
  let node: AgentNode;
  let tool: string;
  before(async () => {
    assert.ok(runtime);
    node = await AgentNode.start(scope, runtime);
    tool = await node.publish(node.images.tool, "team/tool:v1");
    const disk = await makeInjectionDisk(scope, node.images, { images: [[appName, node.images.app]] });
    await node.bringDisk(disk.path);
    await node.configure([{ ref: tool }]);
  });
  after(() => scope.disposeAsync());

  const hasCondition = (status: AgentStatus, type: string) => status.conditions.some((each) => each.type === type);
  const works = async () => {
    await node.untilWarm(tool, appName);
    assert.equal(await node.container(tool), "tool 1\n");
    assert.equal(await node.container(appName), "variant 1\n");
  };

  test("killed at five random times", async (t) => {
    t.diagnostic(`NODEWARM_SEED=${seed}`);
    const random = seededRandom(seed);
    for (let i = 0; i < 5; i++) {
      await node.startAgent();
      await node.daemon.ctr("-n", "k8s.io", "images", "rm", tool, appName).catch(() => {});
      await sleep(random(700));
      await node.stop("SIGKILL");
    }
    await node.startAgent();
    await works();
    assert.equal(await node.stop(), 0);
  });

  test("from a state folder that was deleted", async () => {
    await rm(node.state, { recursive: true });
    await node.startAgent();
    await works();
    assert.equal(await node.stop(), 0);
    assert.ok((await readFile(join(node.state, "state.json"), "utf8")).includes(tool));
  });

  for (const [what, damage] of [
    ["cut", "{"],
    ["filled with zeros", "\0".repeat(4096)],
    ["of another kind", '{"formatVersion":"99","tags":[]}'],
  ] as const)
    test(`from a state that was ${what}`, async () => {
      await writeFile(join(node.state, "state.json"), damage);
      await node.startAgent();
      assert.ok(hasCondition(await node.untilWarm(tool, appName), "StateDamaged"));
      await works();
      assert.equal(await node.stop(), 0);
    });

  test("with a state folder on a full file system, and when there is room again", async () => {
    await mkdir(node.state, { recursive: true });
    await run("mount", ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", node.state]);
    scope.defer(async () => void (await run("umount", ["-l", node.state]).catch(() => {})));
    const ballast = join(node.state, "ballast");
    await writeFile(ballast, Buffer.alloc(1 << 20)).catch(({ code }) => assert.equal(code, "ENOSPC"));
    await node.startAgent();
    await node.until("it says so", (status) => hasCondition(status, "StateNotDurable"));
    await works();
    await rm(ballast);
    await node.until("the state is durable", (status) => !hasCondition(status, "StateNotDurable"));
    assert.equal(await node.stop(), 0);
    assert.ok((await readFile(join(node.state, "state.json"), "utf8")).includes(tool));
    await run("umount", [node.state]);
  });

  const child = spawnSync(process.execPath, ["--import", withoutInotify, "-e", "fs.watch('/')"], { encoding: "utf8" });
  const reason = child.stderr.includes("ENOSPC") ? false : `inotify cannot be taken from a process: ${child.stderr}`;
  test("where the limits of inotify are reached", { skip: reason }, async () => {
    node.environment.NODE_OPTIONS = `--import=${withoutInotify}`;
    await node.startAgent();
    delete node.environment.NODE_OPTIONS;
    await works();
    const images = await makeInjectionImages(scope, "late");
    const disk = await makeInjectionDisk(scope, images, { images: [["example.com/late:v1", images.app]] });
    const place = await node.bringDisk(disk.path, "late.erofs");
    await node.untilWarm("example.com/late:v1");
    assert.equal(await node.container("example.com/late:v1"), "variant late\n");
    await node.configure([]);
    await node.until("the lists were read again", (status) => imageIn(status, tool) === undefined);
    await node.configure([{ ref: tool }]);
    await rm(place);
    await works();
    assert.equal(await node.stop(), 0);
  });
});
