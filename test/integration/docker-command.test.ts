import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MountReport } from "../../src/runtime/containerd/mount-all.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { type CliResult, finish, start } from "../support/cli.ts";
import { run } from "../support/processes.ts";
import { dockerRuntimes } from "../support/runtimes/docker-fleet.ts";
import { appName, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";

for (const runtime of await dockerRuntimes()) {
  describe(`the command line with ${runtime.name}, ${runtime.store} store`, { skip: runtime.reason ?? false }, () => {
    test("injects, shows, mounts again and ejects a disk, by the socket of Docker", async () => {
      await using scope = new AsyncDisposableStack();
      const images = await makeInjectionImages(scope);
      const disk = await makeInjectionDisk(scope, images);
      const docker = await runtime.start(scope);
      const nodewarm = async (...args: string[]): Promise<CliResult> => {
        const at = args[0] === "mount" ? [] : ["--runtime", "docker", "--address", docker.address];
        const result = await finish(start([...args, ...at], { cwd: "/" }));
        assert.equal(result.code, 0, result.stderr);
        return result;
      };
      const isGraph = runtime.store === "overlay2";
      const injected = await nodewarm("inject", disk.path);
      assert.match(injected.stdout, isGraph ? /^Docker 20\.10.*overlay2\)$/m : /^containerd .*, moby\)$/m);
      assert.match(injected.stdout, /^\w+: .*docker push/m);
      assert.equal(await docker.run(appName), "variant 1\n");
      assert.match((await nodewarm("status")).stdout, /^images +3, chains of 3 complete$/m);
      assert.match((await nodewarm("doctor")).stdout, /^This node can be injected/m);
      if (isGraph) {
        await run("umount", [diskMountPoint(disk.id)]);
        const { stdout } = await nodewarm("mount", "--all", "--data-root", docker.dataRoot, "--json");
        const { disks } = JSON.parse(stdout) as MountReport;
        assert.deepEqual(
          disks.map(({ id, result }) => [id, result]),
          [[disk.id, "mounted"]],
        );
        assert.equal(await docker.run(appName), "variant 1\n");
      }
      const ejected = await nodewarm("eject", disk.path);
      assert.match(ejected.stdout, new RegExp(`^${disk.id.slice(0, 12)}: \\d images?; released$`, "m"));
      assert.doesNotMatch(await docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}"), /example\.com/);
    });
  });
}
