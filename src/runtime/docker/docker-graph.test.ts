import assert from "node:assert/strict";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { run } from "../../../test/support/processes.ts";
import type { DockerDaemon } from "../../../test/support/runtimes/docker-daemon.ts";
import { dockerRuntimes } from "../../../test/support/runtimes/docker-fleet.ts";
import {
  ejectFromDocker,
  injectIntoDocker,
  listStore,
  openTestDocker,
} from "../../../test/support/runtimes/docker-graph.ts";
import {
  appName,
  baseName,
  makeInjectionDisk,
  makeInjectionImages,
  toolName,
} from "../../../test/support/runtimes/injection.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { RuntimeError } from "../runtime-error.ts";
import { openDockerGraph } from "./docker-graph-runtime.ts";
import type { DockerNode } from "./docker-node.ts";
import { readStatus } from "./read-status.ts";

const signal = new AbortController().signal;

for (const runtime of await dockerRuntimes()) {
  describe(`inject into ${runtime.name} with overlay2`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: DockerDaemon;
    let node: DockerNode;
    let disk: { path: string; id: string };

    before(async () => {
      disk = await makeInjectionDisk(scope, await makeInjectionImages(scope));
      daemon = await runtime.start(scope, { store: "overlay2" });
      node = await openTestDocker(scope, daemon);
    });
    after(() => scope.disposeAsync());

    test("all images of the disk are usable, and the report says what is different", async () => {
      const report = await injectIntoDocker(node, disk.path);
      assert.deepEqual(
        report.images.map(({ names, result, conditions }) => [names[0], result, conditions.map(({ type }) => type)]),
        [appName, toolName, baseName].map((name) => [name, "injected", []]),
      );
      assert.deepEqual(
        report.conditions.map(({ type }) => type),
        ["ImageIDDiffers"],
      );
      assert.equal(await daemon.run(appName), "variant 1\n");
      assert.equal(await daemon.run(toolName), "tool 1\n");
      assert.equal(await daemon.run(baseName), "base\n");
    });

    test("containers honour whiteouts and opaque folders, and see owners and modes", async () => {
      const script =
        "cat /data/variant; ls /data /opaque; stat -c '%u:%g %a' /owned /setuid; touch /data/new && echo wrote";
      assert.deepEqual((await daemon.run(appName, "/bin/sh", "-c", script)).trim().split("\n"), [
        "variant 1",
        ...["/data:", "stays", "variant", "", "/opaque:", "above"],
        ...["1234:5678 640", "0:0 4755", "wrote"],
      ]);
    });

    test("a second inject changes nothing", async () => {
      const store = await listStore(daemon);
      const report = await injectIntoDocker(node, disk.path);
      assert.deepEqual([report.calls, report.images.map(({ result }) => result)], [0, Array(3).fill("present")]);
      assert.deepEqual(await listStore(daemon), store);
    });

    test("what would give away an image without files is refused", async () => {
      const archive = join(await temporaryDirectory(scope, "save"), "image.tar");
      await assert.rejects(daemon.docker("save", "--output", archive, appName), /nodewarm-placeholder/);
    });

    test("images on one base show the same files of the disk, which the page cache then holds once", async () => {
      const inodes = new Set<string>();
      for (const image of [appName, toolName, baseName]) {
        const format = "{{.GraphDriver.Data.UpperDir}}";
        const diff = (await daemon.docker("image", "inspect", "--format", format, image)).trim();
        const { dev, ino } = await stat(join(diff, "bin/busybox"));
        inodes.add(`${dev} ${ino}`);
      }
      assert.equal(inodes.size, 1);
    });

    test("images can be built on, and what was built runs", async () => {
      const folder = await temporaryDirectory(scope, "build");
      await writeFile(join(folder, "Dockerfile"), `FROM ${appName}\nRUN ["/bin/touch", "/made"]\n`);
      await daemon.docker("build", "--network", "none", "--tag", "local/built:1", folder);
      assert.equal(await daemon.run("local/built:1", "/bin/cat", "/made", "/data/variant"), "variant 1\n");
      await daemon.docker("history", "local/built:1");
      await daemon.docker("system", "df", "--verbose");
      await daemon.docker("rmi", "local/built:1");
    });

    test("images survive a restart and a kill of the daemon", async () => {
      await daemon.restart();
      assert.equal(await daemon.run(appName), "variant 1\n");
      await daemon.kill();
      await daemon.start();
      assert.equal(await daemon.run(appName), "variant 1\n");
    });

    test("without the disk containers fail loudly, over a restart too, and start again once it is mounted", async () => {
      const created = (await daemon.docker("create", "--network", "none", appName)).trim();
      await run("umount", [diskMountPoint(disk.id)]);
      await assert.rejects(daemon.run(appName), /no such file or directory/);
      await assert.rejects(daemon.docker("start", "--attach", created), /no such file or directory/);
      const [status] = await readStatus(node, signal);
      assert.deepEqual(
        [status?.isMounted, status?.conditions.map(({ type }) => type)],
        [false, ["ImageIDDiffers", "NotMounted"]],
      );
      await daemon.restart();
      await assert.rejects(daemon.run(appName), /no such file or directory/);
      const report = await injectIntoDocker(node, disk.path);
      assert.equal(report.calls, 0);
      assert.equal(await daemon.docker("start", "--attach", created), "variant 1\n");
      await daemon.docker("rm", created);
    });

    test("docker rmi removes image, layer and link, and never the disk; inject brings it back", async () => {
      const layers = await readdir(join(daemon.dataRoot, "overlay2"));
      await daemon.docker("rmi", appName);
      assert.equal((await readdir(join(daemon.dataRoot, "overlay2"))).length, layers.length - 1);
      const { images } = JSON.parse(await readFile(join(diskMountPoint(disk.id), "nodewarm.json"), "utf8"));
      assert.ok((await readdir(join(diskMountPoint(disk.id), images[0].tree))).includes("data"));
      const report = await injectIntoDocker(node, disk.path);
      assert.deepEqual(report.images.map(({ result }) => result).sort(), ["injected", "present", "present"]);
      assert.equal(await daemon.run(appName), "variant 1\n");
    });

    test("status tells what is injected, and what stands on it", async () => {
      await daemon.docker("create", "--name", "stopped", "--network", "none", appName);
      await daemon.docker("commit", "stopped", "local/child:1");
      await daemon.docker("tag", toolName, "local/alias:1");
      const [status, ...more] = await readStatus(node, signal);
      assert.deepEqual(more, []);
      assert.deepEqual(
        [status?.id, status?.isMounted, status?.source, status?.conditions.map(({ type }) => type)],
        [disk.id, true, disk.path, ["ImageIDDiffers"]],
      );
      assert.deepEqual(status?.images.map(({ names }) => names).sort(), [[appName], [baseName], [toolName]]);
      assert.deepEqual(status?.heldBy.map(({ kind, name }) => `${kind} ${name}`).sort(), [
        "container stopped",
        "image docker.io/local/alias:1",
        "image docker.io/local/child:1",
      ]);
    });

    test("eject names what is in use, also by a container whose image was removed by force, and changes nothing", async () => {
      const store = await listStore(daemon);
      await assert.rejects(ejectFromDocker(node), (error: unknown) => {
        assert.ok(error instanceof RuntimeError && error.code === "failed-precondition");
        for (const name of ["stopped", "local/alias:1", "local/child:1"]) assert.match(error.message, new RegExp(name));
        return true;
      });
      assert.deepEqual(await listStore(daemon), store);
      await daemon.docker("rmi", "local/child:1", "local/alias:1");
      await daemon.docker("rmi", "--force", appName);
      await assert.rejects(ejectFromDocker(node), /container stopped/);
      await assert.rejects(ejectFromDocker(node, { disks: ["0".repeat(64)] }), { code: "not-found" });
    });

    test("eject waits for the end of what is in use, and leaves nothing", async () => {
      const waited: string[] = [];
      const ejected = ejectFromDocker(node, {
        wait: true,
        onEvent: (event) => {
          if (event.type !== "waiting") return;
          waited.push(...event.users.map(({ name }) => name));
          void daemon.docker("rm", "stopped");
        },
      });
      assert.deepEqual(await ejected, {
        disks: [{ id: disk.id, isReleased: true, heldBy: [], removedImages: 2, materialized: 0 }],
      });
      assert.deepEqual(waited, ["stopped"]);
      // Of a container that cannot be made, as above without the disk, Docker leaves the first layer.
      const folders = /-init\b|\/(?:l|mounts|sha256|tmp|content|metadata)$/;
      assert.deepEqual(
        (await listStore(daemon)).filter((name) => !folders.test(name)),
        [],
      );
      assert.equal((await daemon.docker("images", "--all", "--quiet")).trim(), "");
      assert.doesNotMatch(await readFile("/proc/self/mountinfo", "utf8"), new RegExp(disk.id));
      assert.deepEqual(await readStatus(node, signal), []);
      assert.deepEqual((await ejectFromDocker(node)).disks, []);
    });
  });

  test(`${runtime.name} with the containerd store is refused, with the way out`, {
    skip: runtime.reason ?? (runtime.store === "overlay2" && "has no containerd store"),
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const daemon = await runtime.start(scope, { store: "containerd" });
    await assert.rejects(openDockerGraph(daemon.address), (error: unknown) => {
      assert.ok(error instanceof RuntimeError && error.code === "unimplemented");
      assert.match(error.message, /--runtime containerd --namespace moby/);
      return true;
    });
  });
}
