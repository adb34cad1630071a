import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
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

test("folders of a containerd that its unit starts with another configuration are found while it is stopped", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "folders");
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(work, path)), { recursive: true });
    await writeFile(join(work, path), text);
  };
  await write("usr/containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n");
  await write(
    "etc/containerd.service.d/10-config.conf",
    `[Service]\nExecStart=\nExecStart=/usr/bin/containerd -c "${work}/main.toml"\n`,
  );
  await write("main.toml", 'version = 2\nroot = "/root/main"\nimports = ["parts/*.toml", "last.toml"]\n');
  await write("parts/a.toml", `imports = ["deep.toml"]\n[plugins."${overlay}"]\nroot_path = "/path/a"\n`);
  // Each is read once, though both name each other.
  await write("parts/deep.toml", 'root = "/root/deep"\nimports = ["a.toml"]\n');
  await write("last.toml", '[plugins.overlayfs]\nroot_path = "/path/last"\n');
  await write("usr/k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s \\\n  server '--data-dir' '/data k3s'\n");
  await write(
    "usr/docker.service",
    "[Service]\nEnvironment=OPTS=--data-root=/root/docker\nExecStart=/usr/bin/dockerd $OPTS\n",
  );
  const none = { containerd: join(work, "none"), docker: join(work, "none") };
  const usual = await defaultSnapshotsFolders({ ...none, units: [] });
  const found = await defaultSnapshotsFolders({ ...none, units: [join(work, "etc"), join(work, "usr")] });
  assert.deepEqual(
    new Set(found).difference(new Set(usual)),
    new Set([
      ...["/root/main", "/root/deep", "/data k3s/agent/containerd", "/root/docker/containerd/daemon"].flatMap((root) =>
        [overlay, erofs].map((name) => `${root}/${name}/snapshots`),
      ),
      "/path/a/snapshots",
      "/path/last/snapshots",
    ]),
  );
});

test("the root on the command line of containerd counts too", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "folders");
  await writeFile(join(work, "containerd.service"), "[Service]\nExecStart=-/usr/bin/containerd --root=/root/flag\n");
  const found = await defaultSnapshotsFolders({ containerd: join(work, "none"), units: [work] });
  assert.ok(found.includes(`/root/flag/${overlay}/snapshots`));
});
