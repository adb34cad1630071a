import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { mountsBelow } from "../support/runtimes/clear-away.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
} from "../support/runtimes/injection.ts";
import { type InjectionNode, startInjectionNode } from "../support/runtimes/injection-node.ts";
import { findNewRunc } from "../support/runtimes/programs.ts";
import { probeImageName } from "../support/runtimes/runtime-images.ts";

/** Containers with user namespaces, from injected images and from others beside them. */

/** `copies`: the whole image is copied for each mapping (1.x). `fails` (2.0 to 2.2). `maps`: mounts are ID-mapped (from 2.3). */
function expected(version: string): "copies" | "fails" | "maps" {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < 2) return "copies";
  return major === 2 && minor < 3 ? "fails" : "maps";
}

const ranges = { firstID: 100_000, length: 65_536 };
const mapping = `0:${ranges.firstID}:${ranges.length}`;
const script =
  "read inside outside count < /proc/self/uid_map; echo $inside $outside $count; stat -c '%u:%g' /bin/busybox /tmp; touch /tmp/new && echo wrote";
const command = ["/bin/sh", "-c", script];
const seen = "0 100000 65536\n0:0\n0:0\nwrote\n";
const newRuncMissing = (await findNewRunc()) === undefined && "needs runc 1.2";

for (const runtime of await containerdRuntimes()) {
  describe(`user namespaces on ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    const what = expected(runtime.version);
    let on: InjectionNode;

    before(async () => {
      const { path } = await makeInjectionDisk(scope, await makeInjectionImages(scope));
      on = await startInjectionNode(scope, runtime);
      const { conditions } = await injectPath(on.node, path);
      assert.deepEqual(
        conditions.map(({ type }) => type),
        what === "fails" ? ["UserNamespacesUnsupported"] : [],
      );
    });
    after(() => scope.disposeAsync());

    // ctr of 1.7 makes the copy for other ids and what stands on it under no lease: a collection in between takes the copy.
    const runMapped = async (image: string, ...options: string[]): Promise<string> => {
      for (let tries = 1; ; tries++) {
        try {
          return await on.daemon.run({
            ...{ image, command, namespace: "k8s.io" },
            options: ["--uidmap", mapping, "--gidmap", mapping, ...options],
          });
        } catch (error) {
          if (tries === 5 || !/parent snapshot \S+ does not exist: not found/.test(String(error))) throw error;
        }
      }
    };
    const runPodMapped = (image: string) => runPodToEnd(on.daemon, on.cri, { image, command, userNamespace: ranges });
    // 1.6 has no snapshotter that remaps, and CRI of 1.6 no user namespaces.
    const isOldest = runtime.version.startsWith("1.6.");

    for (const [shape, image] of [
      ["three layers", appName],
      ["one layer", baseName],
    ] as const) {
      if (what === "copies") {
        test(`an injected image of ${shape} runs from a copy of its own`, async () => {
          assert.equal(await runMapped(image), seen);
        });
      }
      test(`an injected image of ${shape}, its mounts ID-mapped, ${outcome(what, isOldest)}`, async () => {
        const attempt = runMapped(image, "--remap-labels");
        if (isOldest) await assert.rejects(attempt, /permission denied/);
        else if (what === "fails") await assert.rejects(attempt, /no such file or directory/);
        else assert.equal(await attempt, seen);
      });
      test(`a pod of an injected image of ${shape} ${outcome(what, false)}`, {
        skip: isOldest ? "CRI of 1.6 knows no user namespaces" : newRuncMissing,
      }, async () => {
        if (what === "fails") await assert.rejects(runPodMapped(image), /no such file or directory/);
        else assert.equal(await runPodMapped(image), seen);
      });
    }

    test("owners of an injected image's files are those of the image", {
      skip: what !== "maps" && `mounts are not ID-mapped in ${runtime.name}: it ${what}`,
    }, async () => {
      const owners = await on.daemon.run({
        ...{ image: appName, namespace: "k8s.io", command: ["/bin/stat", "-c", "%u:%g %a", "/owned", "/setuid"] },
        options: ["--uidmap", mapping, "--gidmap", mapping, "--remap-labels"],
      });
      assert.equal(owners, "1234:5678 640\n0:0 4755\n");
    });

    test("an image that is not ours runs in user namespaces beside the carrier", async () => {
      assert.equal(await runMapped(probeImageName, ...(isOldest ? [] : ["--remap-labels"])), seen);
      if (!isOldest && !newRuncMissing) assert.equal(await runPodMapped(probeImageName), seen);
    });

    test("users of the host run the same images meanwhile, and no ID-mapped mount stays", async () => {
      assert.equal(await on.daemon.run({ image: appName, namespace: "k8s.io" }), "variant 1\n");
      const mounts = await mountsBelow(on.daemon.directory);
      assert.deepEqual(
        mounts.filter((each) => /idmapped|containerd-mount/.test(each)),
        [],
      );
    });
  });
}

function outcome(what: "copies" | "fails" | "maps", isOldest: boolean): string {
  if (isOldest) return "fails as any other";
  return what === "fails" ? "fails loudly" : "runs";
}
