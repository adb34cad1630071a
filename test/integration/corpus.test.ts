import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type EdgeLayer, edgeLayers } from "../corpus/edge-layers.ts";
import { type Containerd, importImages, startDebianContainerd } from "../support/containerd.ts";
import { assertRebuilds, buildTestDisk, mountSound } from "../support/disk-maker.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage } from "../support/image-maker.ts";
import { needs } from "../support/privileges.ts";
import { compareImage } from "../support/stack-compare.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

/** Every edge layer is on a disk as containerd unpacks it, and what containerd refuses is refused. */

const skip = needs("containerd", "losetup", "fsck.erofs");

const accepted = edgeLayers.filter(({ refused, beyondContainerd }) => !refused && beyondContainerd === undefined);
const beyond = edgeLayers.filter(({ beyondContainerd }) => beyondContainerd !== undefined);
const refused = edgeLayers.filter((edge) => edge.refused !== undefined);

test(`containerd unpacks the trees of ${accepted.length} edge layers that a disk holds`, { skip }, async (context) => {
  assert.ok(accepted.length >= 40);
  await using scope = new AsyncDisposableStack();
  const { work, layout, images } = await makeCorpus(scope, accepted);
  const containerd = await startDebianContainerd(scope);
  const unpacked = new Map<EdgeLayer, MadeImage>();
  for (const [edge, image] of images) {
    const words = await containerdRefusal(containerd, layout, image);
    if (words === undefined) unpacked.set(edge, image);
    else await context.test(edge.name, () => assert.fail(`containerd refuses it: ${words}`));
  }
  const disk = await buildTestDisk(work, layout, [...unpacked.values()], { erofsCache: true });
  const mountPoint = await mountSound(scope, disk.path);
  await context.test("verify finds nothing wrong, and --from gives the same disk", () =>
    assertRebuilds(disk, layout, [...unpacked.values()], { erofsCache: true }),
  );
  for (const [edge, image] of unpacked) {
    await context.test(edge.name, async () => {
      assert.deepEqual(await compareImage(containerd, mountPoint, image), []);
    });
  }
});

test("forms that only other unpackers read are refused by this containerd, and are on the disk all the same", {
  skip,
}, async (context) => {
  await using scope = new AsyncDisposableStack();
  const { work, layout, images } = await makeCorpus(scope, beyond);
  const containerd = await startDebianContainerd(scope);
  for (const [edge, image] of images) {
    await context.test(edge.name, async () => {
      assert.notEqual(await containerdRefusal(containerd, layout, image), undefined, "containerd reads it");
    });
  }
  const disk = await buildTestDisk(work, layout, [...images.values()]);
  await mountSound(scope, disk.path);
});

test(`${refused.length} layers are refused by name, and containerd refuses them too`, { skip }, async (context) => {
  await using scope = new AsyncDisposableStack();
  const { work, layout, images } = await makeCorpus(scope, refused);
  const containerd = await startDebianContainerd(scope);
  for (const [edge, image] of images) {
    await context.test(edge.name, async () => {
      const digest = image.layers.at(-1)?.descriptor.digest ?? "";
      await assert.rejects(buildTestDisk(work, layout, [image]), (error: Error) => {
        assert.match(error.message, edge.refused ?? /never/);
        assert.match(error.message, /image example\.com\/test\/image:0/);
        assert.ok(error.message.includes(digest), `the layer is not named: ${error.message}`);
        return true;
      });
      if (edge.onlyHere || edge.fillsDisk || edge.sinceContainerd2) return;
      assert.notEqual(await containerdRefusal(containerd, layout, image), undefined, "containerd accepts it");
    });
  }
});

type Corpus = {
  readonly work: string;
  readonly layout: string;
  readonly images: ReadonlyMap<EdgeLayer, MadeImage>;
};

/** An image for each edge layer: those it stands on, and itself. */
async function makeCorpus(scope: Scope, edges: readonly EdgeLayer[]): Promise<Corpus> {
  const work = await temporaryDirectory(scope, "crp");
  const layout = join(work, "layout");
  const made = new Map<string, MadeLayer>();
  const layerOf = async (name: string): Promise<MadeLayer> => {
    const edge = edgeLayers.find((other) => other.name === name);
    if (edge === undefined) throw new Error(`the corpus has no layer ${name}`);
    const known = made.get(name);
    if (known !== undefined) return known;
    const layer = await addLayer(layout, {
      tar: edge.tar(),
      compression: "none",
      ...(edge.stored && { blob: edge.stored() }),
      ...(edge.mediaType !== undefined && { mediaType: edge.mediaType }),
    });
    made.set(name, layer);
    return layer;
  };
  const images = new Map<EdgeLayer, MadeImage>();
  for (const edge of edges) {
    const layers: MadeLayer[] = [];
    for (const name of [...(edge.parents ?? []), edge.name]) layers.push(await layerOf(name));
    images.set(edge, await makeImage(layout, { layers }));
  }
  return { work, layout, images };
}

/** Why containerd refuses an image; `undefined` when it unpacks it. */
async function containerdRefusal(
  containerd: Containerd,
  layout: string,
  image: MadeImage,
): Promise<string | undefined> {
  const name = `example.com/corpus/image:${image.manifest.digest.slice("sha256:".length)}`;
  return importImages(containerd, layout, [{ name, manifest: image.manifest }]).then(
    () => undefined,
    (error: Error) => error.message.slice(-400),
  );
}
