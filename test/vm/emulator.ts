import { join } from "node:path";
import { findProgram, needs } from "../support/privileges.ts";
import type { BootFiles } from "./boot-files.ts";

/** Why no machine can run here; `false` where it can. */
export const needsMachine = needs("qemu-system-x86_64", "debootstrap", "mkfs.ext4");

export type Drive = {
  /** Of the device in the machine: `/dev/disk/by-id/virtio-<serial>`. */
  readonly serial: string;
  readonly path: string;
  readonly readOnly?: boolean;
  /** What the machine has not flushed is lost with it; of what it has written, the cache of this one keeps nothing back. */
  readonly isUncached?: boolean;
};

export type MachineOptions = {
  readonly boot: BootFiles;
  /** The first is the root file system. What the machine writes stays in the files. */
  readonly drives: readonly Drive[];
  /** Such as `base=1970-01-01`: what the machine takes for the time. */
  readonly rtc?: string;
  readonly memoryMiB?: number;
  /** `127.0.0.1:PORT` of a registry that the machine reaches as `registryAddress`; it reaches nothing else. No network when left out. */
  readonly registry?: string;
};

/** What a machine with a network calls its registry, once its interface `eth0` has `machineAddress`. */
export const registryAddress = "10.0.2.100:5000";
export const machineAddress = "10.0.2.15/24";

export const shellSocket = (folder: string) => join(folder, "shell");
export const controlSocket = (folder: string) => join(folder, "qmp");

/** Of QEMU. By emulation alone: acceleration is not to be had everywhere, and results do not depend on it. */
export function emulatorArguments(
  { boot, drives, rtc, registry, memoryMiB = 1024 }: MachineOptions,
  folder: string,
): string[] {
  const kernel = [
    "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 systemd.show_status=0 systemd.log_color=0",
    // systemd gives up after 90 s, which a machine needs that has a tenth of a processor.
    "systemd.default_timeout_start_sec=600",
  ].join(" ");
  return [
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", String(memoryMiB)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"],
    ...["-kernel", boot.kernel, "-initrd", boot.initrd, "-append", kernel],
    ...(rtc === undefined ? [] : ["-rtc", rtc]),
    ...["-qmp", `unix:${controlSocket(folder)},server=on,wait=off`],
    ...["-chardev", `socket,id=shell,path=${shellSocket(folder)},server=on,wait=off`],
    ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell,name=shell"],
    ...(registry === undefined ? ["-nic", "none"] : networkArguments(registry)),
    // Ports where a drive can be pulled out while the machine runs.
    ...drives.flatMap((_, i) => ["-device", `pcie-root-port,id=port${i},chassis=${i + 1}`]),
    ...drives.flatMap((drive, i) => [
      ...["-blockdev", JSON.stringify(fileNode(drive))],
      ...["-blockdev", JSON.stringify(driveNode(drive))],
      ...["-device", JSON.stringify(driveDevice(drive, i))],
    ]),
  ];
}

const fileName = ({ serial }: Pick<Drive, "serial">) => `${serial}-file`;

function fileNode(drive: Drive): object {
  const { path, readOnly = false, isUncached = false } = drive;
  const common = { "node-name": fileName(drive), "read-only": readOnly, cache: { direct: isUncached } };
  return { driver: "file", filename: path, ...common };
}

/** `over`: the node that the drive takes its bytes from. */
export function driveNode(drive: Drive, over = fileName(drive)): object {
  const { serial, readOnly = false, isUncached = false } = drive;
  const common = { "node-name": serial, "read-only": readOnly, cache: { direct: isUncached } };
  return { driver: "raw", file: over, ...common };
}

/** A node over the file of a drive, which fails reads of the given sectors of 512 bytes. */
export function failingNode(
  drive: Drive,
  sectors: readonly number[],
): { readonly name: string; readonly node: object } {
  const name = `${drive.serial}-failing`;
  const errors = sectors.map((sector) => ({ event: "none", iotype: "read", errno: 5, sector, once: false }));
  const { readOnly = false, isUncached = false } = drive;
  const common = { "node-name": name, "read-only": readOnly, cache: { direct: isUncached } };
  return { name, node: { driver: "blkdebug", image: fileName(drive), "inject-error": errors, ...common } };
}

export function driveDevice({ serial }: Drive, index: number) {
  return { driver: "virtio-blk-pci", bus: `port${index}`, drive: serial, serial, id: `device-${serial}` };
}

/** A process for each connection carries it to the registry: the emulator's own forwarding has one connection for all. */
function networkArguments(registry: string): readonly string[] {
  const busybox = findProgram("busybox");
  if (busybox === undefined)
    throw new Error("there is no busybox; install the packages of scripts/debian-packages.txt");
  const [host, port] = registry.split(":");
  const forward = `guestfwd=tcp:${registryAddress}-cmd:${busybox} nc ${host} ${port}`;
  return ["-netdev", `user,id=net,restrict=on,ipv6=off,${forward}`, "-device", "virtio-net-pci,netdev=net"];
}
