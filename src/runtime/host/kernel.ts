import { access, readFile } from "node:fs/promises";
import { release } from "node:os";
import { isSelinuxEnabled } from "./selinux.ts";

/** `built-in`: in the kernel or loaded; `module`: loaded by the kernel itself when first mounted. */
export type Availability = "built-in" | "module" | "missing";

export type Kernel = {
  /** As `uname -r`. */
  readonly release: string;
  readonly version: KernelVersion;
  readonly erofs: Availability;
  readonly overlayfs: Availability;
  /** `v2` where the unified hierarchy is the only one. */
  readonly cgroup: "v1" | "v2" | "none";
  readonly isSelinuxEnabled: boolean;
};

export type KernelVersion = { readonly major: number; readonly minor: number };

/** What the running kernel can do, as far as Nodewarm needs it. Needs no root. */
export async function readKernel(): Promise<Kernel> {
  const name = release();
  const [fileSystems, modules, builtIn, cgroup, selinux] = await Promise.all([
    readFile("/proc/filesystems", "utf8"),
    // A container does not see the modules of its host, unless /lib/modules is mounted into it.
    readFile(`/lib/modules/${name}/modules.dep`, "utf8").catch(() => ""),
    readFile(`/lib/modules/${name}/modules.builtin`, "utf8").catch(() => ""),
    cgroupVersion(),
    isSelinuxEnabled(),
  ]);
  const available = (type: string, module: string) =>
    fileSystemAvailability(type, module, { fileSystems, modules, builtIn });
  return {
    release: name,
    version: parseKernelVersion(name),
    erofs: available("erofs", "erofs"),
    overlayfs: available("overlay", "overlay"),
    cgroup,
    isSelinuxEnabled: selinux,
  };
}

/** The first two numbers of `uname -r`; 0.0 when it begins otherwise. */
export function parseKernelVersion(name: string): KernelVersion {
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)/.exec(name) ?? [];
  return { major: Number(major), minor: Number(minor) };
}

/** Whether a kernel is of a version or later. */
export function isAtLeast(version: KernelVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

export type KernelFiles = {
  /** `/proc/filesystems`: `nodev` or nothing, a tab, the type. */
  readonly fileSystems: string;
  /** `modules.dep`: a path, a colon, those it needs. */
  readonly modules: string;
  /** `modules.builtin`: a path a line. */
  readonly builtIn: string;
};

/** Where a file system comes from. */
export function fileSystemAvailability(type: string, module: string, files: KernelFiles): Availability {
  const types = files.fileSystems.split("\n").map((line) => line.split("\t").at(-1));
  const paths = (text: string) => text.split("\n").map((line) => line.replace(/:.*/s, ""));
  const file = new RegExp(`/${module}\\.ko(\\.(gz|xz|zst))?$`);
  if (types.includes(type) || paths(files.builtIn).some((path) => file.test(path))) return "built-in";
  return paths(files.modules).some((path) => file.test(`/${path}`)) ? "module" : "missing";
}

async function cgroupVersion(): Promise<Kernel["cgroup"]> {
  const exists = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    );
  // Only the root of a unified hierarchy has this file (Linux Documentation/admin-guide/cgroup-v2.rst).
  if (await exists("/sys/fs/cgroup/cgroup.controllers")) return "v2";
  return (await exists("/sys/fs/cgroup")) ? "v1" : "none";
}
