import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { needs } from "./privileges.ts";
import { run } from "./processes.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** `skip` for a test of devices that hang. */
export const needsHangingDevices: string | false =
  needs("mount", "umount", "losetup") ||
  (/\tfuse$/m.test(readFileSync("/proc/filesystems", "utf8")) ? false : "needs FUSE in the kernel");

/** A loop device over a copy of a disk. `hang`: its reads wait until `answer`, or for ever. */
export type HangingDevice = { readonly path: string; hang(): Promise<void>; answer(): Promise<void> };

/** A device for each disk, which answers at first. What waits for them fails when the scope ends. */
export async function attachHangingDevices(scope: Scope, disks: readonly string[]): Promise<readonly HangingDevice[]> {
  const folder = await temporaryDirectory(scope, "hang");
  const server = fork(join(import.meta.dirname, "hanging-server.ts"), [folder, ...disks], { execArgv: [] });
  const exit = once(server, "exit");
  const ended = exit.then(() => {
    throw new Error("the file system of devices that hang has ended");
  });
  ended.catch(() => {});
  scope.defer(async () => void (await run("umount", ["--lazy", folder])));
  await Promise.race([once(server, "message"), ended]);
  const devices: HangingDevice[] = [];
  for (const number of disks.keys()) {
    const path = (await run("losetup", ["--find", "--show", "--read-only", join(folder, `${number}`)])).trim();
    scope.defer(async () => void (await run("losetup", ["--detach", path])));
    const tell = async (hangs: boolean) => {
      const told = once(server, "message");
      server.send({ number, hangs });
      await Promise.race([told, ended]);
    };
    devices.push({ path, hang: () => tell(true), answer: () => tell(false) });
  }
  // First of all: what waits fails then, and the devices can be detached.
  scope.defer(async () => {
    server.kill("SIGKILL");
    await exit;
  });
  return devices;
}
