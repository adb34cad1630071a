import assert from "node:assert/strict";
import { mkdir, readdir, readlink, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { run } from "../support/processes.ts";
import { appName, baseName, toolName } from "../support/runtimes/injection.ts";
import { conditionTypes, NodeCli, outermostRuntimes } from "../support/runtimes/node-cli.ts";

for (const runtime of await outermostRuntimes()) {
  describe(`nodewarm status, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let cli: NodeCli;
    before(async () => {
      cli = await NodeCli.start(scope, runtime);
    });
    after(() => scope.disposeAsync());

    test("says that nothing is injected", async () => {
      const { stdout } = await cli.succeed("status");
      assert.match(stdout, /^containerd [\d.]+.* \(.*, k8s\.io\): no disk is injected\n$/);
    });

    test("shows disk, images and chains", async () => {
      await cli.succeed("inject", cli.disk.path);
      const disk = await cli.status();
      assert.deepEqual(conditionTypes(disk), []);
      assert.equal(disk?.isMounted, true);
      assert.equal(disk?.source, cli.disk.path);
      assert.equal(disk?.sequence, 1);
      assert.deepEqual(
        disk?.images.map(({ names, chain }) => [names[0], chain]),
        [appName, baseName, toolName].map((name) => [name, "complete"]),
      );
      const { stdout } = await cli.succeed("status");
      assert.match(stdout, new RegExp(`^disk +${cli.disk.id}$`, "m"));
      assert.match(stdout, /^images +3, chains of 3 complete$/m);
      assert.match(stdout, /^held by +nobody$/m);
      assert.match(stdout, /^example\.com\/team\/app:v1 +sha256:[0-9a-f]{12} +complete +ok$/m);
    });

    test("names the containers that hold a disk, running or not", async () => {
      const id = await cli.daemon.runDetached({ namespace: "k8s.io", image: appName, command: ["/bin/sleep", "1000"] });
      assert.deepEqual((await cli.status())?.heldBy, [{ kind: "container", name: id }]);
      await cli.daemon.ctr("-n", "k8s.io", "tasks", "kill", "-s", "KILL", id);
      assert.deepEqual((await cli.status())?.heldBy, [{ kind: "container", name: id }]);
      await cli.daemon.ctr("-n", "k8s.io", "tasks", "rm", "-f", id);
      await cli.daemon.ctr("-n", "k8s.io", "containers", "rm", id);
      assert.deepEqual((await cli.status())?.heldBy, []);
    });

    test("says which tag was moved or removed by others", async () => {
      await cli.daemon.ctr("-n", "k8s.io", "images", "tag", "--force", toolName, baseName);
      await cli.daemon.ctr("-n", "k8s.io", "images", "rm", appName);
      const disk = await cli.status();
      assert.deepEqual(conditionTypes(disk), ["RecordMissing", "TagMoved"]);
      const messages = disk?.images.flatMap(({ conditions }) => conditions.map(({ message }) => message)) ?? [];
      assert.ok(messages.some((message) => message.includes(`${appName} was removed`)));
      await cli.succeed("inject", cli.disk.path, "--force");
      assert.deepEqual(conditionTypes(await cli.status()), []);
    });

    test("sees a plain folder where a link must be, as after a power cut", async () => {
      const link = await findLink(cli.snapshots, "images/");
      await rename(link, `${link}.away`);
      await mkdir(link);
      assert.deepEqual(conditionTypes(await cli.status()), ["LinkReplaced"]);
      await cli.succeed("inject", cli.disk.path);
      assert.deepEqual(conditionTypes(await cli.status()), []);
      await rm(`${link}.away`);
    });

    test("sees a layer that leads elsewhere", async () => {
      const link = await findLink(cli.snapshots, "layers/");
      await run("ln", ["-sfnT", "/etc", link]);
      const types = conditionTypes(await cli.status());
      assert.ok(types.includes("LayerBroken") || types.includes("LinkElsewhere"), types.join());
      await cli.succeed("inject", cli.disk.path);
      assert.deepEqual(conditionTypes(await cli.status()), []);
    });

    test("says that a disk's file is gone while it is still mounted", async () => {
      await rename(cli.disk.path, `${cli.disk.path}.away`);
      const disk = await cli.status();
      assert.equal(disk?.isMounted, true);
      assert.deepEqual(conditionTypes(disk), ["SourceMissing"]);
      await rename(`${cli.disk.path}.away`, cli.disk.path);
      assert.deepEqual(conditionTypes(await cli.status()), []);
    });

    test("says once that a disk is not mounted, and where it was injected from", async () => {
      await unmount(cli);
      const disk = await cli.status();
      assert.equal(disk?.isMounted, false);
      assert.equal(disk?.source, cli.disk.path);
      assert.equal(disk?.sequence, 1);
      assert.deepEqual(conditionTypes(disk), ["NotMounted"]);
      assert.equal(disk?.images.length, 3);
      const { stdout } = await cli.succeed("status");
      assert.match(stdout, /^mounted +no$/m);
      assert.match(stdout, /^NotMounted: .*nodewarm mount --all/m);
    });
  });
}

async function findLink(snapshots: string, folder: string): Promise<string> {
  for (const number of await readdir(snapshots)) {
    const path = join(snapshots, number, "fs");
    const target = await readlink(path).catch(() => "");
    if (target.includes(`/fs/${folder}`)) return path;
  }
  throw new Error(`no snapshot is a link to ${folder}`);
}

async function unmount({ disk, snapshots }: NodeCli): Promise<void> {
  for (const number of await readdir(snapshots)) await run("umount", [join(snapshots, number, "fs")]).catch(() => {});
  await run("umount", [diskMountPoint(disk.id)]);
}
