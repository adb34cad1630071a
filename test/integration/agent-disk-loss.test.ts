import assert from "node:assert/strict";
import { copyFile, mkdir, open, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AgentDiskStatus, AgentStatus } from "../../src/agent/status.ts";
import { readDiskSource } from "../../src/runtime/host/disk-source.ts";
import { needsProgram } from "../support/privileges.ts";
import { run, waitUntil } from "../support/processes.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { type InjectionImages, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

/** Disks that break on a node at work: a container runs through it all, and what starts gets the right bytes or nothing. */

/** Reads its image again and again. */
const reading = ["/bin/sh", "-c", "while true; do cat /data/variant > /tmp/seen; sleep 1; done"];
/** Needs nothing of its image any more: where the bytes are gone, what reads them ends, whoever keeps the mount. */
const sleeping = ["/bin/sleep", "1000"];

type Loss = {
  readonly what: string;
  readonly harm: (path: string) => Promise<void>;
  /** Whether the bytes that are mounted are in doubt, so that nothing starts from them. */
  readonly isWrong: boolean;
  readonly reason: RegExp;
};

const losses: readonly Loss[] = [
  { what: "cut short", harm: (path) => truncate(path, 8192), isWrong: true, reason: /is broken/ },
  { what: "changed in place", harm: spoilMiddle, isWrong: true, reason: /is (checking|broken|refused)/ },
  { what: "removed", harm: (path) => rm(path), isWrong: false, reason: /is no longer at/ },
  {
    what: "replaced by something else",
    async harm(path) {
      await writeFile(`${dirname(path)}/.other`, "no disk at all");
      await rename(`${dirname(path)}/.other`, path);
    },
    isWrong: false,
    reason: /is broken/,
  },
];

for (const runtime of await outermostRuntimes()) {
  describe(`a disk breaks on a node with ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let node: AgentNode;
    before(async () => {
      node = await AgentNode.start(scope, runtime);
    });
    after(() => scope.disposeAsync());

    /** A listed image and one that nobody lists, on a disk in a folder. */
    async function bring(what: string): Promise<Brought> {
      const images = await makeInjectionImages(scope, what);
      const word = what.replaceAll(" ", "-");
      const listed = await node.publish(images.app, `team/${word}:v1`, images.layout);
      const unlisted = `example.com/team/${word}:v1`;
      const disk = await makeInjectionDisk(scope, images, {
        images: [
          [listed, images.app],
          [unlisted, images.tool],
        ],
      });
      return { images, listed, unlisted, ...disk };
    }

    const startContainer = async (image: string, command: readonly string[]) => {
      const id = await node.daemon.runDetached({ namespace: "k8s.io", image, command });
      const [, pid = ""] =
        new RegExp(`${id} +(\\d+) `).exec(await node.daemon.ctr("-n", "k8s.io", "tasks", "ls")) ?? [];
      // A program that still comes up reads itself from the disk.
      await waitUntil("its program waits", async () => /\) S /.test(await readFile(`/proc/${pid}/stat`, "utf8")));
      return {
        async assertRuns() {
          assert.match(await node.daemon.ctr("-n", "k8s.io", "tasks", "ls"), new RegExp(`${id} +\\d+ +RUNNING`));
        },
        async read() {
          const words = ["tasks", "exec", "--exec-id", "x", id, "/bin/cat", "/data/variant"];
          return node.daemon.ctr("-n", "k8s.io", ...words);
        },
        async stop() {
          await node.daemon.ctr("-n", "k8s.io", "tasks", "kill", "-s", "KILL", id);
          await waitUntil("the container has ended", async () =>
            /STOPPED/.test(await node.daemon.ctr("-n", "k8s.io", "tasks", "ls")),
          );
          await node.daemon.ctr("-n", "k8s.io", "tasks", "rm", id);
          await node.daemon.ctr("-n", "k8s.io", "containers", "rm", id);
        },
      };
    };

    const untilFetched = (name: string) =>
      node.until(`${name} was fetched`, (status) => {
        const image = imageIn(status, name);
        return image?.source === "registry" && image.phase === "Warm";
      });

    for (const { what, harm, isWrong, reason } of losses)
      test(`its file is ${what}: fetched after the grace, while a container runs on`, async () => {
        const { path: built, id, listed, unlisted } = await bring(what);
        const path = await node.bringDisk(built, `${what}.erofs`);
        await node.configure([{ ref: listed }], { disks: { folders: [dirname(path)], grace: "2s" } });
        await node.startAgent();
        assert.equal(imageIn(await node.untilWarm(listed, unlisted), listed)?.source, "disk");
        const container = await startContainer(listed, isWrong ? sleeping : reading);
        await harm(path);
        const isCut = (disk: AgentDiskStatus | undefined) =>
          disk?.phase === "Away" && disk.conditions.some(({ type }) => type === "NotMounted");
        const away = await node.until("it is away", (status) =>
          isWrong ? isCut(diskIn(status, id)) : diskIn(status, id)?.phase === "Away",
        );
        assert.match(diskIn(away, id)?.reason ?? "", reason);
        assert.equal(away.disks.filter((disk) => disk.path === path).length, 1, "it is told of once");
        if (isWrong && imageIn(away, listed)?.source === "disk") {
          await assert.rejects(node.container(unlisted), `something starts from a file that was ${what}`);
        }
        await untilFetched(listed);
        await node.until("the disk's other names are gone", (status) => imageIn(status, unlisted) === undefined);
        await assert.rejects(node.container(unlisted), "the runtime sees it as absent");
        assert.equal(await node.container(listed), `variant ${what}\n`);
        await container.assertRuns();
        if (!isWrong) assert.equal(await container.read(), `variant ${what}\n`);
        await container.stop();
        await node.until("the disk is let go of", (status) => isLetGo(diskIn(status, id)), 90_000);
        assert.equal(await node.container(listed), `variant ${what}\n`);
        assert.equal(await node.stop(), 0);
        await rm(path, { force: true });
      });

    const skip = needsProgram("mkfs.ext4", "losetup", "filefrag");
    test("its storage gives read errors: seen without a container that meets them", { skip }, async () => {
      const what = "read error";
      const { path: built, id, listed } = await bring(what);
      const storage = await Storage.make(scope);
      const path = await storage.put(built);
      await node.configure([{ ref: listed }], { disks: { folders: [dirname(path)], grace: "2s" } });
      await node.startAgent();
      assert.equal(imageIn(await node.untilWarm(listed), listed)?.source, "disk");
      const container = await startContainer(listed, sleeping);
      await storage.fail();
      await assert.rejects(run("dd", [`if=${path}`, "of=/dev/null", "bs=4096", "iflag=direct"]), /Input\/output error/);
      const away = await node.until("it is away", (status) => diskIn(status, id)?.phase === "Away");
      assert.match(diskIn(away, id)?.reason ?? "", /EIO/);
      await untilFetched(listed);
      assert.equal(await node.container(listed), `variant ${what}\n`);
      await container.assertRuns();
      await container.stop();
      await node.until("the disk is let go of", (status) => isLetGo(diskIn(status, id)), 90_000);
      assert.equal(await node.stop(), 0);
      await storage.remove();
    });

    test("what another disk has too is led there, and the broken one is not held for it", async () => {
      const what = "shared";
      const { images, path: built, id, listed } = await bring(what);
      const other = `example.com/team/other:v1`;
      const beside = await makeInjectionDisk(scope, images, { images: [[other, images.app]] });
      const path = await node.bringDisk(built, "first.erofs");
      await node.configure([], { disks: { folders: [dirname(path)], grace: "2s" } });
      await node.startAgent();
      await node.untilWarm(listed);
      const second = await node.bringDisk(beside.path, "second.erofs");
      await node.untilWarm(listed, other);
      const container = await startContainer(other, reading);
      await rm(path);
      await node.until("the first disk is let go of", (status) => isLetGo(diskIn(status, id)), 90_000);
      assert.equal(diskIn(await node.untilWarm(other), beside.id)?.phase, "Injected");
      assert.equal(await node.container(other), `variant ${what}\n`);
      await container.assertRuns();
      assert.equal(await container.read(), `variant ${what}\n`);
      await container.stop();
      assert.equal(await node.stop(), 0);
      await rm(second);
    });
  });
}

type Brought = {
  readonly images: InjectionImages;
  readonly listed: string;
  readonly unlisted: string;
  readonly path: string;
  readonly id: string;
};

function diskIn({ disks }: AgentStatus, id: string): AgentDiskStatus | undefined {
  return disks.find((disk) => disk.id === id);
}

/** Its file may be there still. */
function isLetGo(disk: AgentDiskStatus | undefined): boolean {
  return disk === undefined || disk.phase === "Broken";
}

/** Other bytes where files lie; its beginning, with all that says what is where, stays. */
async function spoilMiddle(path: string): Promise<void> {
  const { sizeBytes } = await readDiskSource(path);
  const handle = await open(path, "r+");
  try {
    await handle.write(Buffer.alloc(64 << 10, 0x5a), 0, 64 << 10, Math.floor(sizeBytes / 2 / 4096) * 4096);
  } finally {
    await handle.close();
  }
}

/** A file system on a device whose rear part can be made unreadable. */
class Storage {
  readonly #backing: string;
  readonly #folder: string;
  #firstByte = 0;

  private constructor(backing: string, folder: string) {
    this.#backing = backing;
    this.#folder = folder;
  }

  static async make(scope: Scope): Promise<Storage> {
    const work = await temporaryDirectory(scope, "storage");
    const [backing, mountPoint] = [join(work, "backing"), join(work, "mnt")];
    await writeFile(backing, "");
    await truncate(backing, 96 << 20);
    await run("mkfs.ext4", ["-q", "-F", "-b", "4096", "-N", "64", "-O", "^has_journal", backing]);
    const device = (await run("losetup", ["--find", "--show", "--direct-io=on", backing])).trim();
    scope.defer(async () => void (await run("losetup", ["--detach", device]).catch(() => {})));
    await mkdir(mountPoint);
    await run("mount", [device, mountPoint]);
    scope.defer(async () => void (await run("umount", ["-l", mountPoint]).catch(() => {})));
    const folder = join(mountPoint, "disks");
    await mkdir(folder, { mode: 0o700 });
    await writeFile(join(folder, "ballast"), Buffer.alloc(32 << 20));
    // Its blocks are chosen now, and those of the disk behind them.
    await run("sync", ["-f", folder]);
    return new Storage(backing, folder);
  }

  async put(disk: string): Promise<string> {
    const path = join(this.#folder, "disk.erofs");
    await copyFile(disk, `${this.#folder}/.disk.erofs`);
    await rename(`${this.#folder}/.disk.erofs`, path);
    await run("sync", ["-f", path]);
    // Blocks of 4 KiB: `ext: logical_offset: physical_offset: ...`.
    const extents = [...(await run("filefrag", ["-v", path])).matchAll(/^ *\d+: +(\d+)\.\. *\d+: +(\d+)\.\./gm)];
    const blocks = extents.map(([, , physical]) => Number(physical));
    this.#firstByte = Math.min(...blocks) * 4096;
    assert.ok(this.#firstByte > 1 << 20, `the file system has put the disk in front: ${blocks}`);
    return path;
  }

  /** The file system itself knows nothing of it. */
  async fail(): Promise<void> {
    await truncate(this.#backing, this.#firstByte);
  }

  async remove(): Promise<void> {
    await run("umount", ["-l", dirname(this.#folder)]);
  }
}
