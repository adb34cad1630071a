import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../processes.ts";
import type { Scope } from "../temporary.ts";
import { type LoggedRequest, readWriteLog } from "./write-log.ts";

/** A file that behaves as a device which remembers all that it was told. */
export type RecordedDevice = {
  /** To be mounted with `mountExt4`. */
  readonly path: string;
  /** All requests so far. */
  requests(): Promise<LoggedRequest[]>;
  /** From now on it answers nothing: reads give EIO. */
  breakDown(): Promise<void>;
};

/** Why devices cannot be recorded here, or `false`. */
export async function recorderReason(): Promise<string | false> {
  return access("/dev/fuse").then(
    () => false,
    () => "there is no /dev/fuse",
  );
}

/** Begins with a copy of `image`. `folder` is new, and holds all of it. */
export async function recordDevice(scope: Scope, image: string, folder: string): Promise<RecordedDevice> {
  const [copy, path, log] = ["image", "device", "log"].map((name) => join(folder, name)) as [string, string, string];
  await copySparse(image, copy);
  await writeFile(path, "");
  await writeFile(log, "");
  const { size } = await stat(image);
  const program = join(import.meta.dirname, "recorder.ts");
  const child = spawn(process.execPath, [program, copy, path, log, String(size)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  scope.defer(async () => {
    const exit = once(child, "exit");
    await run("umount", ["-l", path]);
    if (child.exitCode === null && child.signalCode === null) await exit;
  });
  await once(child.stdout, "data");
  return {
    path,
    requests: () => readWriteLog(log),
    async breakDown() {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    },
  };
}

/** An empty ext4 file system in a sparse file. */
export async function makeExt4(path: string, sizeBytes: number): Promise<void> {
  await writeFile(path, "");
  await run("truncate", ["-s", String(sizeBytes), path]);
  await run("mkfs.ext4", ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", path]);
}

/** Nothing is written to the device before it must be: without a sync the kernel waits minutes. */
export async function mountExt4(image: string, target: string): Promise<void> {
  await run("mount", ["-t", "ext4", "-o", "loop,commit=300", image, target]);
}

export async function copySparse(from: string, to: string): Promise<void> {
  await run("cp", ["--sparse=always", from, to]);
}
