import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { defaultSnapshotsFolders } from "./snapshots-folders.ts";

const overlay = "io.containerd.snapshotter.v1.overlayfs";
const erofs = "io.containerd.snapshotter.v1.erofs";

test("the folders of the usual distributions are known, and those that configurations name", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "folders");
  const containerd = join(work, "config.toml");
  const docker = join(work, "daemon.json");
  const usual = await defaultSnapshotsFolders({ containerd, docker });
  for (const root of [
    "/var/lib/containerd",
    "/var/lib/docker/containerd/daemon",
    "/var/lib/rancher/k3s/agent/containerd",
  ])
    assert.ok(usual.includes(`${root}/${overlay}/snapshots`), root);

  await writeFile(containerd, `version = 2\nroot = "/data/ctd"\n[plugins."${overlay}"]\nroot_path = "/fast/overlay"\n`);
  await writeFile(docker, '{"data-root": "/data/docker"}');
  const all = await defaultSnapshotsFolders({ containerd, docker });
  assert.deepEqual(
    new Set(all).difference(new Set(usual)),
    new Set([
      ...[overlay, erofs].map((name) => `/data/ctd/${name}/snapshots`),
      ...[overlay, erofs].map((name) => `/data/docker/containerd/daemon/${name}/snapshots`),
      "/fast/overlay/snapshots",
    ]),
  );
});

test("configurations that are damaged or odd name nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "folders");
  const containerd = join(work, "config.toml");
  const docker = join(work, "daemon.json");
  const usual = await defaultSnapshotsFolders({ containerd, docker });
  for (const [toml, json] of [
    ["root = [", "{"],
    ["root = 7\nplugins = 3", '{"data-root": 7}'],
    ['root = "relative"\nplugins = []', "null"],
    [`root = "/var/lib/containerd"\n[plugins]\n"${overlay}" = "x"`, '{"data-root": "/var/lib/docker"}'],
  ] as const) {
    await writeFile(containerd, toml);
    await writeFile(docker, json);
    assert.deepEqual(await defaultSnapshotsFolders({ containerd, docker }), usual);
  }
});
