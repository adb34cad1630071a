import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { EjectReport } from "../../src/runtime/runtime.ts";
import { finish } from "../support/cli.ts";
import { run, waitUntil } from "../support/processes.ts";
import { appName } from "../support/runtimes/injection.ts";
import { NodeCli, outermostRuntimes } from "../support/runtimes/node-cli.ts";

for (const runtime of await outermostRuntimes()) {
  describe(`nodewarm eject, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let cli: NodeCli;
    before(async () => {
      cli = await NodeCli.start(scope, runtime);
    });
    after(() => scope.disposeAsync());

    async function startContainer(): Promise<string> {
      return cli.daemon.runDetached({ namespace: "k8s.io", image: appName, command: ["/bin/sleep", "1000"] });
    }

    async function removeContainer(id: string): Promise<void> {
      await cli.daemon.ctr("-n", "k8s.io", "tasks", "rm", "-f", id);
      await cli.daemon.ctr("-n", "k8s.io", "containers", "rm", id);
    }

    test("has nothing to do where nothing is injected, and says so of a disk", async () => {
      const { stdout } = await cli.succeed("eject", "--all");
      assert.match(stdout, /: nothing to eject\n$/);
      const { code, stderr } = await cli.run("eject", cli.disk.path);
      assert.equal(code, 1);
      assert.match(stderr, /is not injected; nothing is/);
    });

    test("undoes an injection: by path, by the first digits of the id, and all", async () => {
      for (const word of [cli.disk.path, cli.disk.id.slice(0, 10), "--all"]) {
        await cli.succeed("inject", cli.disk.path);
        const { stdout } = await cli.succeed("eject", word);
        assert.match(stdout, new RegExp(`^${cli.disk.id.slice(0, 12)}: 3 images; released$`, "m"));
        assert.equal(await cli.status(), undefined);
        assert.doesNotMatch(await run("cat", ["/proc/mounts"]), new RegExp(cli.disk.id));
      }
    });

    test("names what is in use and removes nothing", async () => {
      await cli.succeed("inject", cli.disk.path);
      const id = await startContainer();
      const { code, stdout, stderr } = await cli.run("eject", "--all");
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(stderr, new RegExp(`in use .*container ${id}.*--wait.*--materialize`));
      assert.equal((await cli.status())?.images.length, 3);
      await removeContainer(id);
    });

    test("--wait ends when nothing is in use any more", async () => {
      const id = await startContainer();
      const child = cli.begin("eject", "--all", "--wait", "--json");
      let told = "";
      child.stderr?.on("data", (piece) => {
        told += piece;
      });
      const finished = finish(child);
      await waitUntil("eject waits", async () => told.includes(`waiting for container ${id}`));
      await removeContainer(id);
      const { code, stdout } = await finished;
      assert.equal(code, 0, told);
      const [report] = (JSON.parse(stdout) as { runtimes: EjectReport[] }).runtimes;
      assert.deepEqual(
        report?.disks.map(({ id: disk, isReleased, removedImages }) => ({ disk, isReleased, removedImages })),
        [{ disk: cli.disk.id, isReleased: true, removedImages: 3 }],
      );
    });

    test("--materialize keeps what is in use usable without the disk", async () => {
      await cli.succeed("inject", cli.disk.path);
      const id = await startContainer();
      const { stdout, stderr } = await cli.succeed("eject", "--all", "--materialize");
      assert.match(stderr, /^copying images\/[0-9a-f]{64} to the node$/m);
      assert.match(stdout, /\d images?, 1 copied; not released yet: held by /);
      assert.match(await cli.daemon.ctr("-n", "k8s.io", "tasks", "ls"), new RegExp(`${id} +\\d+ +RUNNING`));
      await removeContainer(id);
    });
  });
}
