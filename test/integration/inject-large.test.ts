import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startFaultRegistry } from "../support/fault-registry.ts";
import { type MadeImage, type MadeLayer, makeImage } from "../support/image-maker.ts";
import { waitUntil } from "../support/processes.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { outermostRuntimes } from "../support/runtimes/ejection.ts";
import {
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../support/runtimes/injection.ts";
import { addNote, type InjectionNode, startInjectionNode } from "../support/runtimes/injection-node.ts";

/** Very many layers, and very many images. */

const layersOfTower = 300;
const imagesOfCrowd = 100;

const runtimes = await outermostRuntimes();

describe("large injections", { skip: runtimes.every(({ available }) => !available) && "needs containerd" }, () => {
  const scope = new AsyncDisposableStack();
  /** Made once, for all versions. */
  let images: InjectionImages;
  const tower: MadeLayer[] = [];
  const crowd: [string, MadeImage][] = [];
  let towerDisk: string;
  let crowdDisk: string;
  let roof: MadeLayer;
  let roofed: MadeImage;
  const towerName = "example.com/large/tower:v1";

  before(async () => {
    images = await makeInjectionImages(scope);
    const { layout, base } = images;
    const make = (layers: readonly MadeLayer[], ...files: string[]) =>
      makeImage(layout, { layers, platform, run: { Cmd: ["/bin/cat", ...files] } });
    tower.push(...base.layers);
    while (tower.length < layersOfTower) tower.push(await addNote(layout, `floor-${tower.length}`));
    roof = await addNote(layout, "roof");
    roofed = await make([...tower, roof], "/floor-7", "/roof");
    const top = await make(tower, "/floor-1", `/floor-${layersOfTower - 1}`);
    towerDisk = (await makeInjectionDisk(scope, images, { images: [[towerName, top]] })).path;
    for (let i = 0; i < imagesOfCrowd; i++) {
      const image = await make([...base.layers, await addNote(layout, `own-${i}`)], `/own-${i}`);
      crowd.push([`example.com/large/image:${i}`, image]);
    }
    crowdDisk = (await makeInjectionDisk(scope, images, { images: crowd })).path;
  });
  after(() => scope.disposeAsync());

  for (const runtime of runtimes) {
    describe(runtime.name, { skip: runtime.reason ?? false }, () => {
      const scope = new AsyncDisposableStack();
      let on: InjectionNode;

      before(async () => {
        on = await startInjectionNode(scope, runtime);
      });
      after(() => scope.disposeAsync());

      test(`an image of ${layersOfTower} layers is injected and runs, and carries images on top of it`, async () => {
        const report = await injectPath(on.node, towerDisk);
        assert.deepEqual(
          report.images.map(({ result, chain }) => [result, chain]),
          [["injected", "complete"]],
        );
        assert.ok(report.calls <= callsFor(layersOfTower, 1), `${report.calls} calls`);
        assert.equal(
          await runPodToEnd(on.daemon, on.cri, { image: towerName }),
          `floor-1\nfloor-${layersOfTower - 1}\n`,
        );

        // All floors are lower directories of this one, through links.
        const tags = { "roofed:v1": roofed.manifest };
        const registry = await startFaultRegistry({ layoutDirectory: images.layout, tags });
        try {
          const name = `${registry.host}/roofed:v1`;
          await on.cri.images.pull(name);
          const asked = registry.requests.flatMap(({ path }) => /\/blobs\/(\S+)/.exec(path)?.[1] ?? []);
          assert.deepEqual(asked.sort(), [roofed.config.digest, roof.descriptor.digest].sort());
          assert.equal(await runPodToEnd(on.daemon, on.cri, { image: name }), "floor-7\nroof\n");
        } finally {
          await registry.stop();
        }
      });

      test(`${imagesOfCrowd} images are usable after one call`, async () => {
        const report = await injectPath(on.node, crowdDisk);
        assert.ok(report.images.every(({ result, chain }) => result === "injected" && chain === "complete"));
        assert.ok(report.calls <= callsFor(imagesOfCrowd + 1, imagesOfCrowd), `${report.calls} calls`);
        await waitUntil("CRI knows all of them", async () => {
          const known = new Set((await on.cri.images.list()).flatMap(({ repoTags }) => repoTags));
          return crowd.every(([name]) => known.has(name));
        });
        assert.equal(await runPodToEnd(on.daemon, on.cri, { image: "example.com/large/image:99" }), "own-99\n");
      });
    });
  }
});

/** Two for each snapshot, with the empty one and the carrier; six for the documents and records of an image; those of the leases. */
function callsFor(snapshots: number, images: number): number {
  return 2 * (snapshots + 2) + 6 * images + 4;
}
