import assert from "node:assert/strict";
import { mkdir, open, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeImage } from "../../../test/support/image-maker.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
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
  type InjectionImages,
  makeInjectionDisk,
  makeInjectionImages,
  toolName,
} from "../../../test/support/runtimes/injection.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { startDiskWait } from "../host/disk-search.ts";
import { findDeviceHolders } from "../host/holders.ts";
import { mountUsers } from "../host/mount-users.ts";
import type { InjectReport } from "../runtime.ts";
import { hideFromDaemon, isMounted } from "./disk-mount.ts";
import type { DockerNode } from "./docker-node.ts";
import { mountDockerDisks } from "./mount-disks.ts";
import { readStatus } from "./read-status.ts";

const signal = new AbortController().signal;
const [runtime] = (await dockerRuntimes()).filter(({ store }) => store === "overlay2");

describe("disks in Docker with overlay2", { skip: runtime?.reason ?? (runtime === undefined && "no Docker") }, () => {
  const scope = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  let node: DockerNode;
  let images: InjectionImages;

  before(async () => {
    images = await makeInjectionImages(scope);
    assert.ok(runtime !== undefined);
    daemon = await runtime.start(scope);
    node = await openTestDocker(scope, daemon);
  });
  after(() => scope.disposeAsync());
  afterEach(async () => {
    const containers = (await daemon.docker("ps", "--all", "--quiet")).split("\n").filter((id) => id !== "");
    if (containers.length > 0) await daemon.docker("rm", "--force", ...containers);
    await ejectFromDocker(node);
    const left = (await daemon.docker("images", "--all", "--quiet")).split("\n").filter((id) => id !== "");
    if (left.length > 0) await daemon.docker("rmi", "--force", ...new Set(left));
    assert.deepEqual((await readdir(join(daemon.dataRoot, "overlay2"))).sort(), ["l"]);
    assert.deepEqual(await readdir(join(daemon.dataRoot, "nodewarm/disks")), []);
  });

  const results = ({ images: all }: InjectReport) =>
    all.map(({ names, result, conditions }) => [names[0], result, ...conditions.map(({ type }) => type)]);

  test("a tag that the node has is kept, unless it is forced", async () => {
    const disk = await makeInjectionDisk(scope, images);
    await daemon.loadRuntimeImages();
    await daemon.docker("tag", "nodewarm.test/probe:1", appName);
    assert.deepEqual(results(await injectIntoDocker(node, disk.path)), [
      [appName, "skipped", "TagKept"],
      [toolName, "injected"],
      [baseName, "injected"],
    ]);
    assert.equal(await daemon.run(appName), "hello from the probe\n");
    const forced = await injectIntoDocker(node, disk.path, { force: true, images: [appName] });
    assert.deepEqual(results(forced), [[appName, "injected"]]);
    assert.equal(await daemon.run(appName), "variant 1\n");
    assert.equal(await daemon.run("nodewarm.test/probe:1"), "hello from the probe\n");
  });

  test("an image that the node has pulled is present as it is", async () => {
    const disk = await makeInjectionDisk(scope, images, { images: [[baseName, images.base]] });
    const archive = [{ Config: "config", RepoTags: [baseName], Layers: ["layer"] }];
    const folder = join(images.layout, "blobs/sha256");
    const blob = (digest: string) => join(folder, digest.replace("sha256:", ""));
    await writeFile(join(images.layout, "manifest.json"), JSON.stringify(archive));
    const [layer] = images.base.layers;
    const names = { [blob(images.base.config.digest)]: "config", [blob(layer?.descriptor.digest ?? "")]: "layer" };
    const renames = Object.entries(names).map(([from, to]) => `--transform=s|${from.slice(1)}|${to}|`);
    const tar = join(images.layout, "pulled.tar");
    await run("tar", [...renames, "-cf", tar, ...Object.keys(names), "-C", images.layout, "manifest.json"]);
    await daemon.docker("load", "--input", tar);
    const store = await listStore(daemon);
    const report = await injectIntoDocker(node, disk.path);
    assert.deepEqual([results(report), report.calls], [[[baseName, "present"]], 0]);
    assert.deepEqual(
      (await listStore(daemon)).filter((name) => !name.startsWith("nodewarm/")),
      store,
    );
  });

  test("images that Docker cannot have are left out, and the report says why", async () => {
    const { layout, base } = images;
    const other = await makeImage(layout, { layers: base.layers, platform: { os: "linux", architecture: "s390x" } });
    const empty = await makeImage(layout, { layers: [] });
    const disk = await makeInjectionDisk(scope, images, {
      images: [
        ["example.com/other:1", other],
        ["example.com/empty:1", empty],
        [`example.com/digest@${base.manifest.digest}`, base],
      ],
    });
    const report = await injectIntoDocker(node, disk.path);
    assert.deepEqual(report.images.map(({ names, conditions }) => `${names[0]} ${conditions[0]?.type}`).sort(), [
      `example.com/digest@${base.manifest.digest} NoTag`,
      "example.com/empty:1 NoLayers",
      "example.com/other:1 PlatformMismatch",
    ]);
    assert.equal(await daemon.docker("images", "--all", "--quiet"), "");
  });

  test("a newer disk takes over what both hold and the tags, running containers keep the older one, and then it can go", async () => {
    const line = "fleet";
    const later = await makeInjectionImages(scope, "2");
    const v1 = await makeInjectionDisk(scope, images, { line, sequence: 1 });
    const v2 = await makeInjectionDisk(scope, later, {
      line,
      sequence: 2,
      images: [
        [appName, later.app],
        [baseName, later.base],
      ],
    });
    await injectIntoDocker(node, v1.path);
    await daemon.runDetached(baseName, "/bin/sleep", "1000");
    assert.deepEqual(results(await injectIntoDocker(node, v2.path)), [
      [appName, "injected"],
      [baseName, "present"],
    ]);
    assert.equal(await daemon.run(appName), "variant 2\n");
    const byID = new Map((await readStatus(node, signal)).map((status) => [status.id, status]));
    assert.deepEqual(
      byID
        .get(v1.id)
        ?.images.map(({ names }) => names[0])
        .sort(),
      [toolName, undefined],
    );
    assert.deepEqual(
      byID
        .get(v2.id)
        ?.images.map(({ names }) => names[0])
        .sort(),
      [appName, baseName],
    );
    assert.deepEqual(
      byID.get(v1.id)?.heldBy.map(({ kind }) => kind),
      ["container"],
    );
    // The older one does not take it back.
    assert.deepEqual(results(await injectIntoDocker(node, v1.path))[0], [appName, "skipped", "TagKept"]);

    const [ejected] = (await ejectFromDocker(node, { disks: [v1.id] })).disks;
    assert.deepEqual([ejected?.isReleased, ejected?.removedImages, ejected?.heldBy[0]?.kind], [false, 2, "container"]);
    const [waits] = (await readStatus(node, signal)).filter(({ id }) => id === v1.id);
    assert.deepEqual([waits?.isMounted, waits?.conditions[0]?.type], [false, "NotReleased"]);
    await daemon.docker("rm", "--force", (await daemon.docker("ps", "--quiet")).trim());
    assert.deepEqual((await ejectFromDocker(node, { disks: [v1.id] })).disks, [
      { id: v1.id, isReleased: true, heldBy: [], removedImages: 0, materialized: 0 },
    ]);
    assert.equal(await daemon.run(baseName), "base\n");
  });

  test("what another disk holds too is led there when its disk is ejected", async () => {
    const one = await makeInjectionDisk(scope, images, { line: "one" });
    const two = await makeInjectionDisk(scope, images, { line: "two", images: [[appName, images.app]] });
    await injectIntoDocker(node, one.path);
    await daemon.docker("create", "--network", "none", appName);
    assert.deepEqual(results(await injectIntoDocker(node, two.path)), [[appName, "present"]]);
    const { disks } = await ejectFromDocker(node, { disks: [one.id] });
    assert.deepEqual(disks, [{ id: one.id, isReleased: true, heldBy: [], removedImages: 2, materialized: 0 }]);
    assert.equal(await daemon.run(appName), "variant 1\n");
  });

  test("eject copies what is in use, with containers running, and they are none the wiser", async () => {
    const disk = await makeInjectionDisk(scope, images);
    await injectIntoDocker(node, disk.path);
    const { device } = (await node.mounts.table()).at(diskMountPoint(disk.id)) ?? {};
    const id = await daemon.runDetached(appName, "/bin/sleep", "1000");
    const script = "ls -ln /opaque /data /setuid; stat -c '%u:%g %a %Y' /owned /bin";
    const look = () => daemon.docker("exec", id, "/bin/sh", "-c", script);
    const before_ = await look();
    const { disks } = await ejectFromDocker(node, { materialize: true });
    assert.deepEqual(
      disks.map(({ removedImages, materialized, isReleased }) => [removedImages, materialized, isReleased]),
      [[2, 1, false]],
    );
    assert.equal(await look(), before_);
    await daemon.docker("rm", "--force", id);
    assert.ok(device !== undefined);
    await waitUntil("the device is free", async () => (await findDeviceHolders(device)).length === 0);
    assert.equal(await daemon.run(appName, "/bin/sh", "-c", script), before_);
    await daemon.restart();
    assert.equal(await daemon.run(appName), "variant 1\n");
    // Injected again it is taken as it is.
    assert.deepEqual(results(await injectIntoDocker(node, disk.path, { images: [appName] })), [[appName, "present"]]);
  });

  test("two injections at once make each image once", async () => {
    const disk = await makeInjectionDisk(scope, images);
    const other = await openTestDocker(scope, daemon);
    const reports = await Promise.all([injectIntoDocker(node, disk.path), injectIntoDocker(other, disk.path)]);
    assert.deepEqual(reports.map(({ calls }) => calls > 0).sort(), [false, true]);
    assert.equal(await daemon.run(appName), "variant 1\n");
  });

  for (const step of ["mount", "load", "link", "sync", "tag"] as const) {
    test(`an injection that is killed at "${step}" leaves no image that starts without its files, and is completed`, async () => {
      const disk = await makeInjectionDisk(scope, images);
      const program = fileURLToPath(new URL("../../../test/support/runtimes/inject-and-die.ts", import.meta.url));
      await assert.rejects(run(process.execPath, [program, daemon.address, disk.path, step]), /SIGKILL/);
      for (const tag of (await daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}")).split("\n")) {
        if (tag !== "" && !tag.startsWith("<none>")) assert.notEqual(await daemon.run(tag), "");
      }
      await injectIntoDocker(node, disk.path);
      assert.equal(await daemon.run(appName), "variant 1\n");
      assert.equal(await daemon.run(toolName), "tool 1\n");
    });
  }

  test("an injection that was broken off and is not taken up again is ejected completely", async () => {
    const disk = await makeInjectionDisk(scope, images);
    const stop = (at: string) => {
      if (at === "link") throw new Error("stopped here");
    };
    await assert.rejects(injectIntoDocker(node, disk.path, {}, stop), /stopped here/);
    assert.notEqual(await daemon.docker("images", "--all", "--quiet"), "");
    await ejectFromDocker(node);
    assert.equal(await daemon.docker("images", "--all", "--quiet"), "");
  });

  for (const step of ["remove", "unmount", "record"] as const) {
    test(`an ejection that ends at "${step}" is completed by the next`, async () => {
      const disk = await makeInjectionDisk(scope, images);
      await injectIntoDocker(node, disk.path);
      const stop = (at: string) => {
        if (at === step) throw new Error("stopped here");
      };
      await assert.rejects(ejectFromDocker(node, {}, stop), /stopped here/);
      const { disks } = await ejectFromDocker(node);
      assert.deepEqual([disks[0]?.isReleased, disks[0]?.heldBy], [true, []]);
      assert.equal(await daemon.docker("images", "--all", "--quiet"), "");
    });
  }

  test("a disk that the daemon was cut off from is not said to be released while somebody has it", async () => {
    const disk = await makeInjectionDisk(scope, images);
    await injectIntoDocker(node, disk.path);
    const used = await open(`${diskMountPoint(disk.id)}/nodewarm.json`);
    try {
      await hideFromDaemon(node, disk.id, signal);
      const [ejected] = (await ejectFromDocker(node, { disks: [disk.id] })).disks;
      assert.equal(ejected?.isReleased, false);
      const [waits] = (await readStatus(node, signal)).filter(({ id }) => id === disk.id);
      assert.equal(waits?.conditions[0]?.type, "NotReleased");
    } finally {
      await used.close();
    }
    await waitUntil("it is released", async () => {
      const [again] = (await ejectFromDocker(node, { disks: [disk.id] })).disks;
      return again?.isReleased === true;
    });
  });

  test("a daemon that was cut off from a disk stays among those that need its mount, until the disk is ejected", async () => {
    const disk = await makeInjectionDisk(scope, images);
    await injectIntoDocker(node, disk.path);
    const users = () => mountUsers((path) => path, disk.id);
    const [own] = await users();
    assert.ok(own);
    // As a carrier of containerd does.
    const carrier = join(await temporaryDirectory(scope, "carrier"), "snapshots/1/fs");
    await mkdir(carrier, { recursive: true });
    await run("mount", ["--bind", diskMountPoint(disk.id), carrier]);
    try {
      await hideFromDaemon(node, disk.id, signal);
      assert.deepEqual([await isMounted(node, disk.id), await users()], [true, [own]]);
    } finally {
      await run("umount", [carrier]);
    }
    for (let i = 0; i < 2; i++) {
      await hideFromDaemon(node, disk.id, signal);
      assert.deepEqual([await isMounted(node, disk.id), await users()], [false, [own]]);
    }
    await injectIntoDocker(node, disk.path);
    assert.equal(await daemon.run(appName), "variant 1\n");
    await ejectFromDocker(node, { disks: [disk.id] });
    assert.deepEqual([await isMounted(node, disk.id), await users()], [false, []]);
  });

  test("disks are mounted again without the daemon", async () => {
    const disk = await makeInjectionDisk(scope, images);
    await injectIntoDocker(node, disk.path);
    await daemon.stop();
    await run("umount", [diskMountPoint(disk.id)]);
    const mount = () => mountDockerDisks({ dataRoots: [daemon.dataRoot], wait: startDiskWait(0) });
    assert.deepEqual(
      (await mount()).map(({ id, path, result }) => [id, path, result]),
      [[disk.id, disk.path, "mounted"]],
    );
    assert.deepEqual(
      (await mount()).map(({ result }) => result),
      ["present"],
    );
    await daemon.start();
    assert.equal(await daemon.run(appName), "variant 1\n");
  });

  test("a link of others, and files where a link should be, are left as they are", async () => {
    const disk = await makeInjectionDisk(scope, images, { images: [[baseName, images.base]] });
    const stop = (at: string) => {
      if (at === "link") throw new Error("stopped here");
    };
    await assert.rejects(injectIntoDocker(node, disk.path, {}, stop), /stopped here/);
    const [folder] = (await readdir(join(daemon.dataRoot, "overlay2"))).filter((name) => name !== "l");
    const diff = join(daemon.dataRoot, "overlay2", folder ?? "", "diff");
    await run("rm", ["-r", diff]);
    await run("ln", ["-s", "/somewhere", diff]);
    await assert.rejects(injectIntoDocker(node, disk.path), { code: "occupied" });
    assert.equal(await readlink(diff), "/somewhere");
    assert.equal(await readFile(join(diff, "../nodewarm.json"), "utf8").then(() => "there"), "there");
    await run("rm", [diff]);
    await run("mkdir", [diff]);
  });
});
