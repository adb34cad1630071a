import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pushToRegistry } from "../support/image-maker.ts";
import { startRegistry, type TestRegistry } from "../support/registry.ts";
import { assertComplete, injectedOutputs, startListed } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../support/runtimes/injection.ts";

/** Injections at the same time as others, and as pulls. */

const program = join(import.meta.dirname, "../support/runtimes/inject-until-change.ts");
const all = [...injectedOutputs().keys()];

for (const runtime of await containerdRuntimes()) {
  if (runtime.version.startsWith("1.7.") || runtime.version.startsWith("2.1.")) continue;
  describe(`at the same time into ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let images: InjectionImages;
    let registry: TestRegistry;

    before(async () => {
      images = await makeInjectionImages(scope);
      registry = await startRegistry();
      scope.defer(() => registry.stop());
      daemon = await runtime.start(scope);
    });
    after(() => scope.disposeAsync());

    test("two programs and this one with one disk: one makes all, the others find it", async () => {
      const { path } = await makeInjectionDisk(scope, images, { blobs: true });
      const node = await openTestNode(scope, daemon, "one-disk");
      const others = [1, 2].map(async () => {
        const args = [program, daemon.address, "one-disk", path];
        const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
        return (await once(child, "exit"))[0];
      });
      const reports = [injectPath(node, path), injectPath(node, path)];
      assert.deepEqual(await Promise.all(others), [0, 0]);
      const results = (await Promise.all(reports)).map(({ images: [image] }) => image?.result);
      assert.ok(results.includes("present"), "the second found what the first made");
      const again = await injectPath(node, path);
      await assertComplete(node, again);
      assert.deepEqual(new Set(again.images.map(({ result }) => result)), new Set(["present"]));
      assert.deepEqual(await startListed(daemon, node), all);
    });

    test("two disks with common images", async () => {
      const same = [
        [toolName, images.tool],
        [baseName, images.base],
      ] as const;
      const one = await makeInjectionDisk(scope, images, { images: same });
      const two = await makeInjectionDisk(scope, images, { images: [[appName, images.app], ...same], blobs: true });
      const node = await openTestNode(scope, daemon, "two-disks");
      const reports = await Promise.all([injectPath(node, one.path), injectPath(node, two.path)]);
      for (const report of reports) await assertComplete(node, report);
      assert.deepEqual(await startListed(daemon, node), all);
    });

    test("a pull of the same images, at every moment of the injection", async () => {
      const { path } = await makeInjectionDisk(scope, images, {
        images: [
          [`${registry.host}/team/app:v1`, images.app],
          [`${registry.host}/team/tool:v1`, images.tool],
        ],
      });
      for (const [name, image] of [
        ["app", images.app],
        ["tool", images.tool],
      ] as const)
        await pushToRegistry(images.layout, image.manifest, {
          origin: registry.origin,
          repository: `team/${name}`,
          tag: "v1",
        });
      for (const [i, step] of [
        "prepare empty",
        "prepare",
        "link",
        "commit",
        "document",
        "record",
        "chains",
      ].entries()) {
        const namespace = `pull-${i}`;
        const node = await openTestNode(scope, daemon, namespace);
        const pull = async (name: string): Promise<void> => {
          const args = [
            "images",
            "pull",
            "--snapshotter",
            "overlayfs",
            "--plain-http",
            `${registry.host}/team/${name}:v1`,
          ];
          await daemon.ctr("--namespace", namespace, ...args);
        };
        let pulls: Promise<unknown> | undefined;
        const report = await injectPath(node, path, {}, (name) => {
          if (name === step) pulls ??= Promise.all([pull("app"), pull("tool")]);
        });
        assert.ok(pulls, `there is no "${step}"`);
        await pulls;
        await assertComplete(node, report);
        await assertComplete(node, await injectPath(node, path));
        await node.in.leases.create("collect");
        await node.in.leases.delete("collect", { sync: true });
        for (const [name, said] of [
          ["app", "variant 1\n"],
          ["tool", "tool 1\n"],
        ] as const) {
          assert.equal(
            await daemon.run({ image: `${registry.host}/team/${name}:v1`, namespace }),
            said,
            `${name}, ${step}`,
          );
        }
      }
    });
  });
}
