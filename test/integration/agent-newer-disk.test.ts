import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { access } from "node:fs/promises";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AgentDiskStatus, AgentStatus } from "../../src/agent/status.ts";
import { needs } from "../support/privileges.ts";
import { run, waitUntil } from "../support/processes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import {
  appName,
  type InjectionImages,
  makeInjectionDisk,
  makeInjectionImages,
} from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";

/** Disks that come after others, to a node at work: which of them counts, what runs on meanwhile, and what goes. */

for (const runtime of await outermostRuntimes()) {
  describe(`newer disks on a node with ${runtime.name}`, { skip: runtime.reason ?? needs("losetup") }, () => {
    const scope = new AsyncDisposableStack();
    const line = `line-${randomUUID()}`;
    let node: AgentNode;
    let next: InjectionImages;
    let older: { readonly path: string; readonly id: string };
    let device: string;
    let listed: string;

    before(async () => {
      node = await AgentNode.start(scope, runtime);
      next = await makeInjectionImages(scope, "2");
      listed = await node.publish(node.images.tool, "team/listed:v1");
      const first = await makeInjectionDisk(scope, node.images, { line, images: [[appName, node.images.app]] });
      const path = await node.bringDisk(first.path, "first.erofs");
      older = { path, id: first.id };
      await node.configure([{ ref: listed }], { disks: { folders: [dirname(path)] } });
      await node.startAgent();
      await node.untilWarm(appName, listed);
    });
    after(() => scope.disposeAsync());

    test("a hostile device with the line and the highest sequence is shown and changes nothing", async () => {
      const evil = await makeInjectionImages(scope, "evil");
      const disk = await makeInjectionDisk(scope, evil, { line, sequence: 2 ** 50, images: [[appName, evil.app]] });
      device = (await run("losetup", ["--find", "--show", "--read-only", disk.path])).trim();
      scope.defer(async () => void (await run("losetup", ["--detach", device])));
      const disks = { folders: [dirname(older.path)], devices: [device], removeReleased: true };
      await node.configure([{ ref: listed }], { disks });
      const shown = await node.until("it is refused", (status) => diskAt(status, device)?.phase === "Refused");
      assert.match(diskAt(shown, device)?.reason ?? "", /disks\.allow/);
      assert.equal(imageIn(shown, appName)?.digest, node.images.app.manifest.digest);
      assert.equal(diskAt(shown, older.path)?.phase, "Injected");
      assert.equal(await node.container(appName), "variant 1\n");
    });

    test("the next one takes over, a container keeps what it has, and the older one goes with it", async () => {
      const words = ["containers", "create", appName, "keeps", "/bin/sleep", "1000"];
      await node.daemon.ctr("-n", "k8s.io", ...words);
      await node.daemon.ctr("-n", "k8s.io", "tasks", "start", "--detach", "keeps");
      const newer = await makeInjectionDisk(scope, next, { line, sequence: 2, images: [[appName, next.app]] });
      const place = await node.bringDisk(newer.path, "second.erofs");
      const taken = await node.until(
        "the newer one has taken over",
        (status) =>
          diskAt(status, place)?.phase === "Injected" &&
          diskAt(status, older.path)?.phase === "Replaced" &&
          imageIn(status, appName)?.phase === "Warm",
      );
      assert.equal(imageIn(taken, appName)?.digest, next.app.manifest.digest);
      assert.equal(diskAt(taken, device)?.phase, "Refused");
      assert.equal(await node.container(appName), "variant 2\n");
      const held = diskAt(taken, older.path);
      assert.equal(held?.isSafeToDetach, false);
      assert.ok(held.heldBy.some(({ kind, name }) => kind === "container" && name === "keeps"));
      const read = ["tasks", "exec", "--exec-id", "look", "keeps", "/bin/cat", "/data/variant"];
      assert.equal(await node.daemon.ctr("-n", "k8s.io", ...read), "variant 1\n");
      await access(older.path);

      await node.daemon.ctr("-n", "k8s.io", "tasks", "kill", "-s", "KILL", "keeps");
      await waitUntil("the container has ended", async () =>
        /STOPPED/.test(await node.daemon.ctr("-n", "k8s.io", "tasks", "ls")),
      );
      await node.daemon.ctr("-n", "k8s.io", "tasks", "rm", "keeps");
      await node.daemon.ctr("-n", "k8s.io", "containers", "rm", "keeps");
      await node.until("the older one is gone", (status) => diskAt(status, older.path) === undefined, 120_000);
      await assert.rejects(access(older.path), { code: "ENOENT" });
      assert.equal(await node.container(appName), "variant 2\n");
    });

    test("one that has another image under a listed name does not move what the registry has said", async () => {
      const names = [listed, "example.com/team/beside:v1"] as const;
      const images = names.map((name) => [name, next.tool] as const);
      const other = await makeInjectionDisk(scope, next, { images });
      await node.bringDisk(other.path, "other.erofs");
      const status = await node.untilWarm(names[1], listed);
      assert.equal(imageIn(status, listed)?.digest, node.images.tool.manifest.digest);
      assert.equal(await node.container(names[1]), "tool 2\n");
      assert.equal(await node.container(listed), "tool 1\n");
    });

    test("what is listed no more goes, and what others pulled stays", async () => {
      const fetched = await node.publish(next.app, "team/fetched:v1", next.layout);
      const pulled = await node.publish(next.base, "team/pulled:v1", next.layout);
      await node.daemon.ctr("-n", "k8s.io", "images", "pull", "--plain-http", pulled);
      await node.configure([{ ref: fetched }, { ref: pulled }]);
      await node.untilWarm(fetched, pulled);
      const records = () => node.daemon.ctr("-n", "k8s.io", "images", "ls");
      const lineOf = (name: string, all: string) => all.split("\n").find((each) => each.startsWith(`${name} `));
      await waitUntil("it is pinned", async () => /pinned/.test(lineOf(pulled, await records()) ?? ""));
      await node.configure([]);
      await waitUntil("what was fetched is gone", async () => lineOf(fetched, await records()) === undefined, 60_000);
      await waitUntil(
        "what was pulled is let go of",
        async () => !/pinned/.test(lineOf(pulled, await records()) ?? ""),
      );
      assert.equal(await node.container(pulled), "base\n");
      assert.equal(await node.stop(), 0);
    });
  });
}

function diskAt({ disks }: AgentStatus, path: string): AgentDiskStatus | undefined {
  return disks.find((disk) => disk.path === path);
}
