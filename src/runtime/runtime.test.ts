import { randomUUID } from "node:crypto";
import { after, before, describe } from "node:test";
import { needsProgram } from "../../test/support/privileges.ts";
import { testEjecting } from "../../test/support/runtime-suite/ejecting.ts";
import { testInjecting } from "../../test/support/runtime-suite/injecting.ts";
import { type Disks, eject, makeDisks, type Others, type Setting } from "../../test/support/runtime-suite/setting.ts";
import type { ContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../../test/support/runtimes/fleet.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { openContainerdNode } from "./containerd/containerd-node.ts";
import { ContainerdRuntime } from "./containerd/containerd-runtime.ts";
import { MemoryRuntime } from "./memory-runtime.ts";

/** `start` runs once; what it resolves to makes an empty runtime for each test. */
function conformance(
  name: string,
  skip: string | false,
  start: (scope: Scope) => Promise<(scope: Scope) => Promise<Setting>>,
): void {
  describe(`${name} keeps the contract of runtimes`, { skip }, () => {
    const scope = new AsyncDisposableStack();
    let disks: Disks;
    let makeSetting: (scope: Scope) => Promise<Setting>;

    before(async () => {
      disks = await makeDisks(scope);
      makeSetting = await start(scope);
    });
    after(() => scope.disposeAsync());

    const world = { disks: () => disks, makeSetting: (test: Scope) => makeSetting(test) };
    testInjecting(world);
    testEjecting(world);
  });
}

conformance("MemoryRuntime", needsProgram("busybox"), async () => async (scope) => {
  const runtime = new MemoryRuntime();
  scope.defer(() => runtime.close());
  const others: Others = {
    startContainer: async (image) => runtime.startContainer(image),
    removeContainer: async (id) => runtime.removeContainer(id),
    setTag: async (name, digest) => runtime.setTag(name, digest),
    tag: async (name) => runtime.tag(name),
  };
  return { runtime, others };
});

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  conformance(runtime.name, runtime.reason ?? false, async (world) => {
    const daemon = await runtime.start(world);
    // What one namespace has is not seen in another.
    return (scope) => containerdSetting(scope, daemon, `test-${randomUUID()}`);
  });
}

async function containerdSetting(scope: Scope, daemon: ContainerdDaemon, namespace: string): Promise<Setting> {
  const runtime = await ContainerdRuntime.open(daemon.address, namespace);
  scope.defer(() => runtime.close());
  const node = await openContainerdNode(daemon.address, namespace);
  scope.defer(() => node.close());
  const ctr = (...args: readonly string[]) => daemon.ctr("--namespace", namespace, ...args);
  // What a test leaves would hold the disks of the next.
  scope.defer(async () => void (await eject(runtime)));
  const others: Others = {
    async startContainer(image) {
      const id = `c-${randomUUID()}`;
      await ctr("containers", "create", "--snapshotter", daemon.snapshotter, image, id, "/bin/sleep", "1000");
      return id;
    },
    removeContainer: async (id) => void (await ctr("containers", "rm", id)),
    async setTag(name, digest) {
      const target = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 2 };
      await node.in.images.create({ name, target, labels: {} });
    },
    tag: async (name) => (await node.in.images.list()).find((image) => image.name === name)?.target.digest,
  };
  return { runtime, others };
}
