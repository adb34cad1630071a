import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../support/processes.ts";
import { cacheDirectory, type Scope, temporaryDirectory } from "../support/temporary.ts";

const packages = [
  "systemd-sysv",
  "udev",
  "kmod",
  "containerd",
  "runc",
  "linux-image-cloud-amd64",
  "e2fsprogs",
  "util-linux",
];

/** Changes when what `makeRoot` does changes: the folder in the cache is another one then. */
const recipe = 1;

/** A Debian with real systemd, containerd and a kernel, made once and kept; nobody may change it. Takes a minute and the network. */
export async function debianRoot(): Promise<string> {
  const cache = await cacheDirectory(`vm-bookworm-${recipe}`);
  const root = join(cache, "root");
  if (existsSync(root)) return root;
  const partial = join(cache, `.partial-${process.pid}`);
  try {
    await makeRoot(partial);
    await rename(partial, root);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  return root;
}

async function makeRoot(root: string): Promise<void> {
  const mirror = await machineMirror();
  const include = `--include=${packages.join(",")}`;
  await run("debootstrap", ["--variant=minbase", include, "bookworm", root, mirror], { timeoutMs: 900_000 });
  // Nothing here looks at these, and each byte is written into each image of a machine.
  for (const folder of ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"]) {
    await rm(join(root, folder), { recursive: true, force: true });
    await mkdir(join(root, folder));
  }
  // Timers and consoles that only cost time under emulation.
  const masked = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
  ];
  const more = ["e2scrub_all.timer", "getty-static.service", "serial-getty@.service", "systemd-update-utmp.service"];
  await run("systemctl", [`--root=${root}`, "mask", ...masked, ...more]).catch(async () => {
    for (const unit of [...masked, ...more])
      await run("ln", ["-sf", "/dev/null", join(root, "etc/systemd/system", unit)]);
  });
  await writeFile(join(root, "etc/hostname"), "node\n");
}

async function machineMirror(): Promise<string> {
  const format = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
  const uris = (await run("apt-get", format)).split("\n");
  return uris.find((uri) => /\/debian\/?$/.test(uri)) ?? "http://deb.debian.org/debian";
}

/** A copy of a root file system, as a folder that may be written and is thrown away with the scope. */
export async function writableRoot(scope: Scope, root: string): Promise<string> {
  const work = await temporaryDirectory(scope, "vm-root");
  const merged = join(work, "merged");
  for (const folder of ["upper", "work", "merged"]) await mkdir(join(work, folder));
  const overlay = `lowerdir=${root},upperdir=${join(work, "upper")},workdir=${join(work, "work")}`;
  await run("mount", ["-t", "overlay", "overlay", "-o", overlay, merged]);
  scope.defer(async () => void (await run("umount", [merged])));
  return merged;
}

/** An ext4 image with the Debian root and what `prepare` puts into it; the folder it gets is writable and thrown away. */
export async function makeRootImage(
  scope: Scope,
  root: string,
  prepare: (root: string) => Promise<void>,
  sizeMiB = 2048,
): Promise<string> {
  const image = join(await temporaryDirectory(scope, "vm-image"), "root.img");
  await using copy = new AsyncDisposableStack();
  const merged = await writableRoot(copy, root);
  await prepare(merged);
  await run("mkfs.ext4", ["-q", "-E", "lazy_itable_init=1,root_owner=0:0", "-d", merged, image, `${sizeMiB}M`]);
  return image;
}
