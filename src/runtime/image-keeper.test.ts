import { randomUUID } from "node:crypto";
import { after, before, describe } from "node:test";
import { testFetching } from "../../test/support/image-keeper-suite/fetching.ts";
import { testKeeping, testTelling } from "../../test/support/image-keeper-suite/keeping.ts";
import {
  type Images,
  makeImages,
  type Others,
  type Setting,
  signal,
  type World,
} from "../../test/support/image-keeper-suite/setting.ts";
import { pushToRegistry } from "../../test/support/image-maker.ts";
import { needsProgram } from "../../test/support/privileges.ts";
import { run, waitUntil } from "../../test/support/processes.ts";
import { startRegistry, type TestRegistry } from "../../test/support/registry.ts";
import { eject } from "../../test/support/runtime-suite/setting.ts";
import type { DockerDaemon } from "../../test/support/runtimes/docker-daemon.ts";
import { dockerRuntimes } from "../../test/support/runtimes/docker-fleet.ts";
import { containerdRuntimes } from "../../test/support/runtimes/fleet.ts";
import {
  collectGarbage,
  type InjectionNode,
  importImage,
  startInjectionNode,
} from "../../test/support/runtimes/injection-node.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { criNamespace, dockerNamespace, openContainerdNode } from "./containerd/containerd-node.ts";
import { carrierOf, fsPath, readOwnedState } from "./containerd/owned-state.ts";
import type { FoundRuntime } from "./discovery.ts";
import { diskMountPoint } from "./host/disk-mount-point.ts";
import { makeMemoryNode, memoryImage } from "./memory-image-keeper.ts";
import { openNodeRuntime } from "./open-runtime.ts";

/** `start` runs once; what it resolves to makes a setting for each test. */
function conformance(
  name: string,
  skip: string | false,
  start: (scope: Scope, images: Images) => Promise<World["makeSetting"]>,
): void {
  describe(`${name} keeps the contract of image keepers`, { skip }, () => {
    const scope = new AsyncDisposableStack();
    let images: Images;
    let makeSetting: World["makeSetting"];
    before(async () => {
      images = await makeImages(scope);
      makeSetting = await start(scope, images);
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
  return { keeper: images, runtime, others, repository: usualRepository, hasPins: true };
});

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  conformance(runtime.name, runtime.reason ?? false, async (world) => {
    const node = await startInjectionNode(world, runtime);
    return (scope) => containerdSetting(scope, node);
  });
}

for (const runtime of await dockerRuntimes()) {
  const skip = runtime.reason ?? needsProgram("docker-registry");
  conformance(`${runtime.name} (${runtime.store})`, skip, async (world, images) => {
    const daemon = await runtime.start(world);
    const registry = await startRegistry();
    world.defer(() => registry.stop());
    for (const { layout, made, digest } of [images.other, images.another])
      await pushToRegistry(layout, made.manifest, {
        origin: registry.origin,
        repository: "keeper/image",
        tag: digest.slice(7, 20),
      });
    return (scope) => dockerSetting(scope, daemon, registry);
  });
}

async function dockerSetting(scope: Scope, daemon: DockerDaemon, registry: TestRegistry): Promise<Setting> {
  const found: FoundRuntime =
    daemon.store === "overlay2"
      ? { kind: "docker-graph", address: daemon.address }
      : { kind: "containerd", address: daemon.containerd.address, namespace: dockerNamespace };
  const { runtime, images: keeper, close } = await openNodeRuntime(found);
  scope.defer(close);
  const node = await openContainerdNode(daemon.containerd.address, dockerNamespace);
  scope.defer(() => node.close());
  const list = async (...args: readonly string[]) => (await daemon.docker(...args)).split("\n").filter(Boolean);
  scope.defer(async () => {
    for (const id of await list("ps", "--all", "--quiet")) await daemon.docker("rm", "--force", id);
    for (const { name } of (await keeper.observe({ signal })).images)
      await daemon.docker("rmi", "--force", name).catch(() => {});
    await collectGarbage(node);
    await eject(runtime);
  });
  const others: Others = {
    async pull(name, { layout, made }) {
      const tag = name.slice(name.lastIndexOf(":") + 1);
      await pushToRegistry(layout, made.manifest, { origin: registry.origin, repository: "keeper/image", tag });
      await daemon.docker("pull", name).catch(async (error: unknown) => {
        // Docker looks again at what it has just fetched, and its containerd may have collected it as garbage in between.
        if (!/content digest \S+ not found/.test(String(error))) throw error;
        await daemon.docker("pull", name);
      });
    },
    removeName: async (name) => void (await daemon.docker("rmi", name)),
    async removeImage(name) {
      const [id = ""] = await list("image", "inspect", "--format", "{{.Id}}", name);
      await daemon.docker("rmi", "--force", id);
    },
    startContainer: async (image) => (await daemon.docker("create", "--network", "none", image)).trim(),
    removeContainer: async (id) => void (await daemon.docker("rm", id)),
    collectGarbage: () => collectGarbage(node),
    async restart(how) {
      const ends = daemon.store === "overlay2" ? daemon : daemon.containerd;
      await ends[how]();
      await ends.start();
      await waitUntil("Docker reaches its containerd", () =>
        daemon.docker("images").then(
          () => true,
          () => false,
        ),
      );
    },
    async takeAway(disk) {
      if (daemon.store === "containerd") {
        const carrier = carrierOf(await readOwnedState(node), disk);
        await run("umount", [fsPath(node, carrier?.number ?? "")]);
      }
      await run("umount", [diskMountPoint(disk)]);
    },
  };
  return { keeper, runtime, others, repository: `${registry.host}/keeper/image`, hasPins: false };
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
  return { keeper, runtime, others, repository: usualRepository, hasPins: true };
}
