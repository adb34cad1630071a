import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { importImages, startDebianContainerd } from "../support/containerd.ts";
import { downloadPackages } from "../support/debian.ts";
import { buildTestDisk, mountSound } from "../support/disk-maker.ts";
import { makeImage } from "../support/image-maker.ts";
import { needs } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { compareImage } from "../support/stack-compare.ts";
import { cacheDirectory, temporaryDirectory } from "../support/temporary.ts";

/** Images of real Debian packages: what containerd unpacks and overlayfs shows of them is what the disk holds. */

const layerPackages: Readonly<Record<string, readonly string[]>> = {
  base: ["base-files", "base-passwd", "libc6", "dash", "coreutils", "libgcc-s1", "tzdata", "iputils-ping", "passwd"],
  perl: ["perl-base", "perl-modules-5.36"],
  python: ["python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"],
};

/** Removals, replacements and what packages rarely have: capabilities, ACLs, user xattrs, links, devices. */
const changes = `
  mkdir -p usr/share/doc usr/share/zoneinfo bin etc var/lib/app dev
  touch usr/share/doc/.wh.libc6 usr/share/zoneinfo/.wh..wh..opq
  echo UTC > usr/share/zoneinfo/UTC
  printf '#!/bin/sh\\n' > bin/dash; chmod 4755 bin/dash; ln bin/dash bin/other
  setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 bin/dash
  setfattr -n user.note -v 0x00ff0a etc
  mknod dev/null c 1 3; mkfifo var/lib/app/pipe; ln -s ../../.. var/lib/app/up
  chown -R 70000:80000 var/lib/app
  touch -d 1999-12-31T23:59:59.123456789Z etc`;

test("real images are on the disk as containerd unpacks them", {
  skip: needs("containerd", "dpkg-deb", "setfattr"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "real");
  const layout = join(work, "layout");
  const folder = join(work, "changes");
  await run("sh", ["-euc", `mkdir ${folder}; cd ${folder}; ${changes}`]);
  const changesTar = join(work, "changes.tar");
  await tar(folder, changesTar, "posix");

  const [base, perl, python] = await Promise.all(Object.keys(layerPackages).map(packageLayer));
  assert.ok(base && perl && python);
  const first = await makeImage(layout, {
    layers: [
      { tar: base, level: 1 },
      { tar: perl, compression: "zstd" },
    ],
  });
  const second = await makeImage(layout, {
    layers: [...first.layers.slice(0, 1), { tar: python, level: 1 }, { tar: changesTar }],
    format: "docker",
  });
  const third = await makeImage(layout, { layers: first.layers.slice(0, 1) });
  const images = [first, second, third];

  const containerd = await startDebianContainerd(scope);
  const named = images.map(({ manifest }, index) => ({ name: `example.com/real/image:${index}`, manifest }));
  await importImages(containerd, layout, named);
  const disk = await buildTestDisk(work, layout, images, { erofsCache: true, blobs: true });
  const mountPoint = await mountSound(scope, disk.path);
  for (const [index, image] of images.entries()) {
    const differences = await compareImage(containerd, mountPoint, image);
    assert.deepEqual(differences, [], `image ${index}`);
  }
});

/** The tar of a set of packages as dpkg unpacks them, made once. */
async function packageLayer(name: string): Promise<string> {
  const cacheName = `debian-bookworm-layer-${name}-1`;
  const file = join(await cacheDirectory(cacheName), "layer.tar");
  if (existsSync(file)) return file;
  const debs = await downloadPackages(cacheName, { suite: "bookworm", packages: layerPackages[name] ?? [] });
  await using scope = new AsyncDisposableStack();
  const root = join(await temporaryDirectory(scope, "deb"), "root");
  await mkdir(root, { mode: 0o755 });
  for (const deb of debs) await run("dpkg-deb", ["-x", deb, root]);
  await tar(root, `${root}.tar`, "gnu");
  await cp(`${root}.tar`, `${file}.partial`);
  await rename(`${file}.partial`, file);
  return file;
}

async function tar(folder: string, file: string, format: "gnu" | "posix"): Promise<void> {
  const keep = format === "posix" ? ["--xattrs", "--xattrs-include=*", "--acls"] : [];
  await run("tar", [`--format=${format}`, ...keep, "--sparse", "--numeric-owner", "-C", folder, "-cf", file, "."]);
}
