import { copyFile, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { recordSeeded } from "../../src/cli/seed/record-seeded.ts";
import { seedRoot } from "../../src/publish/seed/seed-root.ts";
import { enablingLink, type NodeFile } from "../../src/publish/seed/units.ts";
import { root as checkout } from "../support/cli.ts";
import { findProgram } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";
import { debianRoot, makeRootImage } from "./debian-root.ts";
import { machineAddress } from "./emulator.ts";
import { shellUnit } from "./machine.ts";

export type NodeImageOptions = {
  /** Put into the node as `nodewarm seed` does. */
  readonly disks: readonly string[];
  readonly program: string;
  readonly configuration?: readonly NodeFile[];
  /** Whatever else the node has, from before it is seeded. */
  readonly files?: readonly NodeFile[];
  /** Of Debian's, what it does not have, from before it is seeded; absolute on the node. */
  readonly absent?: readonly string[];
  /** Units among them that start with the machine. */
  readonly enabled?: readonly string[];
  /** Default: as `nodewarm seed` leaves it. */
  readonly isAgentEnabled?: boolean;
  /** Gives `eth0` an address before the agent starts. */
  readonly hasNetwork?: boolean;
  /** Removed at the end, absolute on the node. */
  readonly removed?: readonly string[];
};

const networkUnit: NodeFile = {
  path: "/etc/systemd/system/test-network.service",
  text: `[Unit]
Wants=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
Before=nodewarm.service

[Service]
Type=oneshot
ExecStart=/usr/local/bin/busybox ip link set eth0 up
ExecStart=/usr/local/bin/busybox ip addr add ${machineAddress} dev eth0
`,
};

/** The program as it is installed on nodes. */
export async function makeProgram(scope: Scope): Promise<string> {
  const program = join(await temporaryDirectory(scope, "program"), "bundle");
  await run(process.execPath, [join(checkout, "scripts/bundle.ts"), "--out", program]);
  return program;
}

/** The disk of a machine that is a seeded node: Debian with systemd and containerd, and a shell for the tests. */
export async function makeNodeImage(scope: Scope, options: NodeImageOptions): Promise<string> {
  const { disks, program, configuration = [], files = [], enabled = [], hasNetwork = false } = options;
  const { absent = [], removed = [] } = options;
  return makeRootImage(scope, await debianRoot(), async (root) => {
    const signal = AbortSignal.timeout(300_000);
    for (const path of absent) await rm(join(root, path));
    for (const { path, text } of [shellUnit, ...(hasNetwork ? [networkUnit] : []), ...files]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    await recordSeeded(await seedRoot({ root, disks, program, configuration, signal }), signal);
    if (options.isAgentEnabled === false) await rm(join(root, enablingLink.path));
    const units = hasNetwork ? [...enabled, "test-network.service"] : enabled;
    const links = units.map((unit) => `/etc/systemd/system/multi-user.target.wants/${unit}`);
    for (const path of [shellUnit.link, ...links]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await symlink(`../${path.split("/").pop()}`, join(root, path));
    }
    if (hasNetwork) {
      const busybox = findProgram("busybox");
      if (busybox === undefined) throw new Error("there is no busybox; install scripts/debian-packages.txt");
      await copyFile(busybox, join(root, "usr/local/bin/busybox"));
    }
    for (const path of removed) await rm(join(root, path), { recursive: true, force: true });
  });
}

/** An empty ext4 file system for a second drive. */
export async function makeEmptyDrive(scope: Scope, sizeMiB: number): Promise<string> {
  const image = join(await temporaryDirectory(scope, "vm-drive"), "data.img");
  await run("mkfs.ext4", ["-q", "-E", "lazy_itable_init=1", image, `${sizeMiB}M`]);
  return image;
}
