import { mkdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { type MountReport, mountAll } from "../../../src/runtime/containerd/mount-all.ts";
import { startDiskWait } from "../../../src/runtime/host/disk-search.ts";
import { SystemMounts } from "../../../src/runtime/host/system-mounts.ts";
import { run } from "../processes.ts";
import type { seededRandom } from "../random.ts";
import type { ContainerdDaemon } from "../runtimes/containerd-daemon.ts";
import type { ContainerdRuntime } from "../runtimes/fleet.ts";
import { openTestNode } from "../runtimes/injection.ts";
import type { Scope } from "../temporary.ts";
import { copySparse, makeExt4, mountExt4, recordDevice } from "./recorded-device.ts";
import { type LoggedRequest, replay } from "./write-log.ts";

const deviceBytes = 512 << 20;

/** What the device of containerd's files was told while something happened. */
export type Recording = {
  /** The device before. */
  readonly before: string;
  readonly requests: readonly LoggedRequest[];
  /** Index of the first request of what happened. */
  readonly begin: number;
};

/** The power goes after so many requests of a recording; with `random` also the device's cache. */
export type PowerCut = { readonly after: number; readonly random: ReturnType<typeof seededRandom> | undefined };

/** A containerd whose root is an ext4 file system on a device that can lose its power. */
export class PowerCutNode {
  readonly daemon: ContainerdDaemon;
  readonly #folder: string;
  readonly #mounts = new SystemMounts();
  #images = 0;

  private constructor(daemon: ContainerdDaemon, folder: string) {
    this.daemon = daemon;
    this.#folder = folder;
  }

  static async start(scope: Scope, runtime: ContainerdRuntime): Promise<PowerCutNode> {
    const daemon = await runtime.start(scope);
    await daemon.stop();
    const folder = join(daemon.directory, "power-cut");
    await mkdir(folder);
    await run("mount", ["-t", "tmpfs", "tmpfs", folder]);
    await rm(daemon.root, { recursive: true });
    await mkdir(daemon.root);
    return new PowerCutNode(daemon, folder);
  }

  get snapshotsFolder(): string {
    return join(this.daemon.root, "io.containerd.snapshotter.v1.overlayfs/snapshots");
  }

  /** A new device on which `work` was done, and shut down in order. */
  async prepare(work: (node: ContainerdNode) => Promise<void>, from?: string): Promise<string> {
    const image = this.#newPath();
    if (from === undefined) await makeExt4(image, deviceBytes);
    else await copySparse(from, image);
    await this.#on(image, work);
    return image;
  }

  /** Does `work` on a copy of a device, and remembers all that this was told. */
  async record(before: string, work: (node: ContainerdNode) => Promise<void>): Promise<Recording> {
    await using scope = new AsyncDisposableStack();
    const folder = this.#newPath();
    await mkdir(folder);
    const device = await recordDevice(scope, before, folder);
    let [begin, requests]: [number, readonly LoggedRequest[]] = [0, []];
    await this.#on(device.path, async (node) => {
      begin = (await device.requests()).length;
      await work(node);
      requests = await device.requests();
    });
    return { before, requests, begin };
  }

  /**
   * Starts the machine again after a power cut: the journal is replayed, `nodewarm mount --all` runs, then containerd, then `check`. The
   * report is that of the mounts.
   */
  async afterPowerCut(
    { before, requests }: Recording,
    { after, random }: PowerCut,
    check: (node: ContainerdNode, report: MountReport) => Promise<void>,
  ): Promise<void> {
    const image = this.#newPath();
    await copySparse(before, image);
    replay(requests, after, image, random);
    try {
      await this.#on(image, check);
    } finally {
      await rm(image);
    }
  }

  async #on(image: string, work: (node: ContainerdNode, report: MountReport) => Promise<void>): Promise<void> {
    await mountExt4(image, this.daemon.root);
    try {
      const report = await mountAll({ snapshotsFolders: [this.snapshotsFolder], wait: startDiskWait(0) });
      await this.daemon.start();
      await using scope = new AsyncDisposableStack();
      await work(await openTestNode(scope, this.daemon), report);
    } finally {
      await this.daemon.kill();
      await this.#unmount();
      await rm(this.daemon.state, { recursive: true, force: true });
    }
  }

  /** With the disks on it. */
  async #unmount(): Promise<void> {
    const table = await this.#mounts.table();
    const carriers = table.below(this.daemon.root);
    const disks = carriers.flatMap(({ device }) => table.ofDevice(device)).map(({ mountPoint }) => mountPoint);
    for (const mountPoint of new Set(disks)) await this.#mounts.unmount(mountPoint);
    for (const mountPoint of disks)
      if (mountPoint.startsWith("/run/nodewarm/")) await rmdir(mountPoint).catch(() => {});
    await this.#mounts.unmount(this.daemon.root);
  }

  #newPath(): string {
    return join(this.#folder, String(this.#images++));
  }
}

/** Cuts spread over a recording, one in each of `count` equal parts; every second one loses the device's cache too. */
export function powerCuts(recording: Recording, count: number, random: ReturnType<typeof seededRandom>): PowerCut[] {
  const { begin, requests } = recording;
  const part = (requests.length - begin) / count;
  return Array.from({ length: count }, (_, i) => {
    const after = Math.ceil(begin + part * i) + random(Math.max(1, Math.floor(part)));
    return { after, random: i % 2 === 0 ? undefined : random };
  });
}
