import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { MountReport } from "../../src/runtime/containerd/mount-all.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { readMountTable } from "../../src/runtime/host/mount-table.ts";
import { finish } from "../support/cli.ts";
import { run } from "../support/processes.ts";
import { appName } from "../support/runtimes/injection.ts";
import { NodeCli, outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { temporaryDirectory } from "../support/temporary.ts";

for (const runtime of await outermostRuntimes()) {
  describe(`nodewarm mount --all, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let cli: NodeCli;
    const mount = (...args: string[]) => cli.run("mount", "--all", "--snapshots", cli.snapshots, ...args);

    before(async () => {
      cli = await NodeCli.start(scope, runtime);
    });
    after(() => scope.disposeAsync());

    test("has nothing to do where nothing is injected", async () => {
      const { code, stdout } = await mount();
      assert.equal(stdout, "no disk is injected\n");
      assert.equal(code, 0);
    });

    test("leaves what is mounted as it is", async () => {
      await cli.succeed("inject", cli.disk.path);
      const { code, stdout } = await mount();
      assert.equal(stdout, `${cli.disk.id.slice(0, 12)}: was mounted\n`);
      assert.equal(code, 0);
    });

    test("mounts again before the runtime starts, and containers start", async () => {
      await cli.daemon.stop();
      await unmountAll(cli);
      const { code, stdout, stderr } = await mount("--json");
      assert.equal(code, 0, stderr);
      const { disks } = JSON.parse(stdout) as MountReport;
      assert.deepEqual(
        disks.map(({ id, path, result }) => ({ id, path, result })),
        [{ id: cli.disk.id, path: cli.disk.path, result: "mounted" }],
      );
      await cli.daemon.start();
      assert.equal(await cli.container(appName), "variant 1\n");
    });

    test("says which disk is not there, while containers of its images fail loudly; and mounts it once it is", async () => {
      await unmountAll(cli);
      await rename(cli.disk.path, `${cli.disk.path}.away`);
      const { code, stdout } = await mount("--wait", "0.1");
      assert.equal(code, 1);
      assert.match(stdout, /^[0-9a-f]{12}: not mounted\n {2}DiskMissing: .*there is no .*disk\.erofs/);
      await assert.rejects(cli.container(appName), /no such file or directory/);
      await rename(`${cli.disk.path}.away`, cli.disk.path);
      assert.equal((await mount()).code, 0);
      assert.equal(await cli.container(appName), "variant 1\n");
    });

    test("waits once for all disks, those of Docker too", async () => {
      await unmountAll(cli);
      await rename(cli.disk.path, `${cli.disk.path}.away`);
      const dataRoot = await temporaryDirectory(scope, "data-root");
      const id = "e".repeat(64);
      const record = { formatVersion: "1", id, line: "l", sequence: 1, source: "/nonexistent/disk", leftBehind: [] };
      await mkdir(join(dataRoot, "nodewarm/disks"), { recursive: true });
      await writeFile(join(dataRoot, `nodewarm/disks/${id}.json`), JSON.stringify(record));
      scope.defer(() => rm(`/run/nodewarm/users/${id}`, { recursive: true, force: true }));
      const start = performance.now();
      const { code, stdout } = await mount("--data-root", dataRoot, "--wait", "20");
      const seconds = (performance.now() - start) / 1000;
      assert.equal(code, 1);
      assert.equal(stdout.match(/DiskMissing/g)?.length, 2);
      // As long again would be two waits; a busy machine takes a part of that to start the program.
      assert.ok(seconds >= 20 && seconds < 40, `${seconds} s`);
      await rename(`${cli.disk.path}.away`, cli.disk.path);
      assert.equal((await mount()).code, 0);
    });

    test("stopped by SIGTERM while it waits, it leaves nothing half mounted", async () => {
      await unmountAll(cli);
      await rename(cli.disk.path, `${cli.disk.path}.away`);
      const child = cli.begin("mount", "--all", "--snapshots", cli.snapshots, "--wait", "60");
      const ended = finish(child);
      assert.ok(child.stderr !== null);
      await once(child.stderr, "data");
      child.kill("SIGTERM");
      assert.equal((await ended).code, 143);
      assert.deepEqual((await readMountTable("self")).below(cli.snapshots), []);
      await assert.rejects(readdir(diskMountPoint(cli.disk.id)), { code: "ENOENT" });
      await rename(`${cli.disk.path}.away`, cli.disk.path);
      assert.equal((await mount()).code, 0);
      assert.equal(await cli.container(appName), "variant 1\n");
    });

    test("refuses a folder that does not exist", async () => {
      const { code, stderr } = await cli.run("mount", "--all", "--snapshots", "/nowhere/snapshots");
      assert.equal(code, 1);
      assert.match(stderr, /ENOENT.*\/nowhere\/snapshots/);
    });
  });
}

/** As a reboot leaves it. */
async function unmountAll({ disk, snapshots }: NodeCli): Promise<void> {
  for (const number of await readdir(snapshots)) await run("umount", [join(snapshots, number, "fs")]).catch(() => {});
  await run("umount", [diskMountPoint(disk.id)]);
  await rmdir(diskMountPoint(disk.id));
}
