import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { findProgram } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export type BootFiles = { readonly kernel: string; readonly initrd: string };

/** Changes when `makeInitrd` does: the file in the cache is another one then. */
const recipe = 1;

/** What reaches the first drive; ext4 is in Debian's kernel. */
const modules = ["virtio_pci", "virtio_blk"];

/**
 * The kernel of a root file system, and an initial file system, made once and kept beside the root, that does nothing but mount the first drive:
 * Debian's own looks for everything that a machine may have, which takes a quarter of each boot under emulation.
 */
export async function bootFiles(root: string): Promise<BootFiles> {
  const name = (await readdir(join(root, "boot"))).find((each) => each.startsWith("vmlinuz-"));
  if (name === undefined) throw new Error(`${root}/boot has no vmlinuz-*`);
  const initrd = join(dirname(root), `initrd-${recipe}`);
  if (!existsSync(initrd)) await makeInitrd(root, name.slice("vmlinuz-".length), initrd);
  return { kernel: join(root, "boot", name), initrd };
}

async function makeInitrd(root: string, kernelVersion: string, initrd: string): Promise<void> {
  const busybox = findProgram("busybox");
  if (busybox === undefined)
    throw new Error("there is no busybox; install the packages of scripts/debian-packages.txt");
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "initrd");
  for (const each of ["bin", "dev", "modules", "root"]) await mkdir(join(folder, each));
  await copyFile(busybox, join(folder, "bin/busybox"));
  const loaded = await modulesOf(root, kernelVersion);
  for (const path of loaded) await copyFile(join(root, path), join(folder, "modules", basename(path)));
  await writeFile(join(folder, "init"), initScript(loaded.map((path) => basename(path))), { mode: 0o755 });
  const partial = `${initrd}.${process.pid}`;
  await run("sh", ["-euc", '"$0" find . | "$0" cpio -o -H newc >"$1"', busybox, partial], { cwd: folder });
  await rename(partial, initrd);
}

/** Paths of the modules and of what they need, in the order in which they are loaded. */
async function modulesOf(root: string, kernelVersion: string): Promise<readonly string[]> {
  const words = ["modprobe", "--set-version", kernelVersion, "--show-depends", "--all", ...modules];
  const plan = await run("chroot", [root, ...words]);
  return [...new Set([...plan.matchAll(/^insmod (\S+)/gm)].map(([, path = ""]) => path))];
}

const initScript = (names: readonly string[]) => `#!/bin/busybox sh
set -e
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
for module in ${names.join(" ")}; do $busybox insmod /modules/$module; done
until [ -b /dev/vda ]; do $busybox usleep 50000; done
$busybox mount -t ext4 /dev/vda /root
$busybox mount -o move /dev /root/dev
exec $busybox switch_root /root /sbin/init
`;
