import { access } from "node:fs/promises";
import { type Availability, isAtLeast, type Kernel, readKernel } from "../host/kernel.ts";
import { imageLayerContext } from "../host/selinux.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

/** Of the machine, whatever runtime there is. */
export async function checkMachine(): Promise<Finding[]> {
  const kernel = await readKernel();
  return [
    checkKernel(kernel),
    checkErofs(kernel),
    checkOverlayfs(kernel.overlayfs),
    await checkLoopDevices(),
    await checkSelinux(kernel),
  ];
}

export function checkKernel({ release, version }: Pick<Kernel, "release" | "version">): Finding {
  const name = "kernel";
  if (!isAtLeast(version, 5, 4))
    return failure(name, `Linux ${release}: EROFS came with 5.4`, "use a kernel of version 5.4 or later");
  if (!isAtLeast(version, 5, 8))
    return warning(
      name,
      `Linux ${release}: disks in files need 5.8 (LOOP_CONFIGURE)`,
      "attach disks as block devices, or use a kernel of version 5.8 or later",
    );
  if (!isAtLeast(version, 5, 15))
    return warning(
      name,
      `Linux ${release}: disks with sparse files, or built with --erofs-cache, need 5.15`,
      'see "nodewarm inspect DISK" for the kernel that a disk needs, or use a later kernel',
    );
  return ok(name, `Linux ${release}`);
}

export function checkErofs({ erofs, release }: Pick<Kernel, "erofs" | "release">): Finding {
  if (erofs !== "missing") return ok("EROFS", describeAvailability(erofs));
  return failure(
    "EROFS",
    "the kernel has neither EROFS nor a module for it",
    `install the package with the kernel's further modules (Ubuntu: linux-modules-extra-${release}; RHEL: kernel-modules-extra); in a container, mount the host's /lib/modules`,
  );
}

export function checkOverlayfs(overlayfs: Availability): Finding {
  if (overlayfs !== "missing") return ok("overlayfs", describeAvailability(overlayfs));
  return failure("overlayfs", "the kernel has neither overlayfs nor a module for it", "use a kernel with overlayfs");
}

function describeAvailability(availability: Availability): string {
  return availability === "module" ? "a module, which is loaded with the first mount" : "in the kernel";
}

async function checkLoopDevices(): Promise<Finding> {
  try {
    await access("/dev/loop-control");
    return ok("loop devices", "there: disks may be files or block devices");
  } catch {
    return warning(
      "loop devices",
      "there is no /dev/loop-control: disks in files cannot be mounted, block devices can",
      "load the module (modprobe loop); in a container, mount the host's /dev",
    );
  }
}

async function checkSelinux({ isSelinuxEnabled }: Kernel): Promise<Finding> {
  if (!isSelinuxEnabled) return ok("SELinux", "not enabled");
  const context = await imageLayerContext();
  if (context !== undefined) return ok("SELinux", `enabled; disks are mounted as ${context}`);
  return warning(
    "SELinux",
    "enabled, and its policy does not know the label of image layers: containers may be denied their files",
    "install container-selinux, or the policy of this distribution for containers",
  );
}
