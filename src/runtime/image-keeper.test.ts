import { randomUUID } from "node:crypto";
import { after, before, describe } from "node:test";
import { testFetching } from "../../test/support/image-keeper-suite/fetching.ts";
import { testKeeping, testTelling } from "../../test/support/image-keeper-suite/keeping.ts";
import {
  type Images,
  makeImages,
  type Others,
  type Setting,
  type World,
} from "../../test/support/image-keeper-suite/setting.ts";
import { needsProgram } from "../../test/support/privileges.ts";
import { run } from "../../test/support/processes.ts";
import { eject } from "../../test/support/runtime-suite/setting.ts";
import { containerdRuntimes } from "../../test/support/runtimes/fleet.ts";
import {
  collectGarbage,
  type InjectionNode,
  importImage,
  startInjectionNode,
} from "../../test/support/runtimes/injection-node.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { criNamespace } from "./containerd/containerd-node.ts";
import { carrierOf, fsPath, readOwnedState } from "./containerd/owned-state.ts";
import { diskMountPoint } from "./host/disk-mount-point.ts";
import { makeMemoryNode, memoryImage } from "./memory-image-keeper.ts";
import { openNodeRuntime } from "./open-runtime.ts";

/** `start` runs once; what it resolves to makes a setting for each test. */
function conformance(name: string, skip: string | false, start: (scope: Scope) => Promise<World["makeSetting"]>): void {
  describe(`${name} keeps the contract of image keepers`, { skip }, () => {
    const scope = new AsyncDisposableStack();
    let images: Images;
    let makeSetting: World["makeSetting"];
    before(async () => {
      images = await makeImages(scope);
      makeSetting = await start(scope);
    });
    after(() => scope.disposeAsync());
    const world: World = { images: () => images, makeSetting: (test) => makeSetting(test) };
    testKeeping(world);
    testTelling(world);
    testFetching(world);
  });
}

const usualRepository = "example.com/keeper/image";

conformance("MemoryImageKeeper", needsProgram("busybox"), async () => async (scope) => {
  const { runtime, images, others: memory } = makeMemoryNode();
  scope.defer(() => images.close());
  const others: Others = {
    pull: async (name, { resolved }) => memory.pull(name, memoryImage(resolved)),
    removeName: async (name) => memory.removeName(name),
    removeImage: async (name) => memory.removeImage(name),
    startContainer: async (image) => memory.startContainer(image),
    removeContainer: async (id) => memory.removeContainer(id),
    collectGarbage: async () => memory.collectGarbage(),
    restart: async () => {
      memory.stop();
      memory.start();
    },
    takeAway: async (disk) => memory.setAway(disk, true),
  };
  return { keeper: images, runtime, others, repository: usualRepository };
});

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  conformance(runtime.name, runtime.reason ?? false, async (world) => {
    const node = await startInjectionNode(world, runtime);
    return (scope) => containerdSetting(scope, node);
  });
}

async function containerdSetting(scope: Scope, on: InjectionNode): Promise<Setting> {
  const { daemon, node, cri } = on;
  const {
    runtime,
    images: keeper,
    close,
  } = await openNodeRuntime({
    kind: "containerd",
    address: daemon.address,
    namespace: criNamespace,
  });
  scope.defer(close);
  const ctr = (...args: readonly string[]) => daemon.ctr("--namespace", criNamespace, ...args);
  const kept = new Set((await node.in.images.list()).map(({ name }) => name));
  // What a test leaves would be seen by the next.
  scope.defer(async () => {
    for (const { id } of await node.in.containers.list()) await ctr("containers", "rm", id);
    for (const { name } of await node.in.images.list())
      if (!kept.has(name)) await node.in.images.delete(name, { sync: true }).catch(() => {});
    await eject(runtime);
  });
  const others: Others = {
    async pull(name, { layout, made }) {
      await importImage(scope, on, layout, name, made);
      // No pull makes those.
      const imports = await node.in.images.list(['name~="^import-"']);
      for (const each of imports) await node.in.images.delete(each.name);
    },
    removeName: async (name) => void (await ctr("images", "rm", "--sync", name)),
    removeImage: (name) => cri.images.remove(name),
    async startContainer(image) {
      const id = `c-${randomUUID()}`;
      await ctr("containers", "create", "--snapshotter", daemon.snapshotter, image, id, "/bin/sleep", "1000");
      return id;
    },
    removeContainer: async (id) => void (await ctr("containers", "rm", id)),
    collectGarbage: () => collectGarbage(node),
    async restart(how) {
      await daemon[how]();
      await daemon.start();
    },
    async takeAway(disk) {
      const carrier = carrierOf(await readOwnedState(node), disk);
      await run("umount", [fsPath(node, carrier?.number ?? "")]);
      await run("umount", [diskMountPoint(disk)]);
    },
  };
  return { keeper, runtime, others, repository: usualRepository };
}
