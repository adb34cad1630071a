import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type Containerd, importImages, startDebianContainerd } from "../support/containerd.ts";
import { assertRebuilds, buildTestDisk, mountedImage, mountSound } from "../support/disk-maker.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage } from "../support/image-maker.ts";
import { cachedPages, forgetPages } from "../support/page-cache.ts";
import { needs } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { seededRandom } from "../support/random.ts";
import { randomLayer } from "../support/random-layer.ts";
import { compareImage } from "../support/stack-compare.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** The tree that a container runs on is what overlayfs would show of the layers that containerd unpacks. */

const skip = needs("containerd", "losetup", "fsck.erofs");

const seed = Number(process.env.SEED ?? 1);
const stackCount = Number(process.env.STACKS ?? 45);

test(`random stacks of layers are merged as overlayfs does it (SEED=${seed})`, { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "mrg");
  const layout = join(work, "layout");
  const random = seededRandom(seed);
  const pool: MadeLayer[] = [];
  for (let index = 0; index < stackCount; index++) {
    pool.push(await addLayer(layout, { tar: randomLayer(random), compression: "none" }));
  }
  // containerd applies the whiteouts of a lowest layer instead of keeping them, so a layer is either.
  const lowest = pool.slice(0, stackCount / 3);
  const higher = pool.slice(stackCount / 3);
  const pick = (layers: readonly MadeLayer[]): MadeLayer => layers[random(layers.length)];
  const containerd = await startDebianContainerd(scope);
  const accepted: MadeImage[] = [];
  let refused = 0;
  for (let index = 0; index < stackCount; index++) {
    const image = await makeImage(layout, {
      layers: [pick(lowest), ...Array.from({ length: 1 + random(4) }, () => pick(higher))],
    });
    const words = await refusal(containerd, layout, image);
    if (words === undefined) {
      accepted.push(image);
      continue;
    }
    refused++;
    const build = buildTestDisk(work, layout, [image]);
    await assert.rejects(build, `stack ${index}: containerd refuses it, the build does not: ${words}`);
  }
  assert.ok(accepted.length > stackCount / 6, `containerd refused ${refused} of ${stackCount} stacks`);
  const disk = await buildTestDisk(work, layout, accepted);
  const mountPoint = await mountSound(scope, disk.path);
  await assertRebuilds(disk, layout, accepted);
  for (const [index, image] of accepted.entries()) {
    const differences = await compareImage(containerd, mountPoint, image);
    assert.deepEqual(differences, [], `stack ${index}: ${image.layers.map(({ diffID }) => diffID).join(" ")}`);
  }
});

test("a file of a shared base that was read through one image is cached for another", {
  skip: skip || needs("fincore"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "pgc");
  const layout = join(work, "layout");
  const base = await addLayer(layout, { tar: tar(file("lib/big", Buffer.alloc(1 << 20, "base"))) });
  const images = await Promise.all(
    ["one", "two"].map((name) => makeImage(layout, { layers: [base, { tar: tar(file(name, name)) }] })),
  );
  const disk = await buildTestDisk(work, layout, images);
  const mountPoint = await mountSound(scope, disk.path);
  const [first, second] = await Promise.all(images.map((image) => mountedImage(mountPoint, image)));
  assert.ok(first && second);
  assert.notEqual(first.tree, second.tree);
  const [read, other] = [join(first.tree, "lib/big"), join(second.tree, "lib/big")];

  // Others on this machine may drop caches between two steps.
  const seen = new Set<string>();
  for (let attempt = 0; attempt < 5 && !seen.has("0 256"); attempt++) {
    await forgetPages(other);
    const before = await cachedPages(other);
    await run("cat", [read]);
    seen.add(`${before} ${await cachedPages(other)}`);
  }
  assert.ok(seen.has("0 256"), `pages before and after: ${[...seen].join(", ")}`);
});

/** Why containerd refuses an image; `undefined` when it does not. */
async function refusal(containerd: Containerd, layout: string, image: MadeImage): Promise<string | undefined> {
  const name = `example.com/stack/image:${image.manifest.digest.slice("sha256:".length)}`;
  return importImages(containerd, layout, [{ name, manifest: image.manifest }]).then(
    () => undefined,
    (error: Error) => error.message,
  );
}
