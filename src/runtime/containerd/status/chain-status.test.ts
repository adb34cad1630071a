import assert from "node:assert/strict";
import { test } from "node:test";
import { makeImage } from "../../../../test/support/image-maker.ts";
import { run } from "../../../../test/support/processes.ts";
import { outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../../../../test/support/runtimes/injection.ts";
import { addNote, collectGarbage, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { carrierOf, fsPath, readOwnedState } from "../owned-state.ts";
import { readStatus } from "./read-status.ts";

const { signal } = new AbortController();

for (const runtime of await outermostRuntimes()) {
  test(`${runtime.name}: status says of chains what injection says, with layers that come twice too`, {
    skip: runtime.reason ?? false,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { layout, app, base } = images;
    const [ground, below, above] = app.layers;
    assert.ok(ground !== undefined && below !== undefined && above !== undefined);
    const note = await addNote(layout, "note");
    const make = (...layers: (typeof ground)[]) => makeImage(layout, { layers, platform, run: { Cmd: ["/bin/true"] } });
    const { path, id } = await makeInjectionDisk(scope, images, {
      images: [
        [appName, app],
        ["example.com/twice/plain:v1", await make(ground, note, ground, below)],
        ["example.com/twice/over:v1", await make(ground, below, above, below, note, above, note)],
        ["example.com/twice/top:v1", await make(...base.layers, note, ground)],
      ],
    });
    const said = async () => {
      const [disk] = await readStatus(node, signal);
      assert.ok(disk !== undefined);
      return new Map(disk.images.flatMap(({ names, chain }) => names.map((name) => [name, chain] as const)));
    };
    for (const chains of [false, true]) {
      const report = await injectPath(node, path, { chains });
      const status = await said();
      for (const { names, chain } of report.images)
        for (const name of names) assert.equal(status.get(name), chain, `${name}, chains ${chains}`);
      assert.deepEqual(new Set(status.values()).has("pending"), !chains);
    }
    await collectGarbage(node);
    assert.deepEqual(new Set((await said()).values()), new Set(["complete"]), "after a collection");
    const carrier = carrierOf(await readOwnedState(node), id);
    assert.ok(carrier !== undefined);
    await run("umount", ["-l", fsPath(node, carrier.number)]);
    assert.deepEqual(new Set((await said()).values()), new Set(["complete"]), "without the disk too");
  });
}
