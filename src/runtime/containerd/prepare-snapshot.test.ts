import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { assertComplete } from "../../../test/support/runtimes/check-injected.ts";
import { containerdRuntimes } from "../../../test/support/runtimes/fleet.ts";
import {
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../../../test/support/runtimes/injection.ts";
import type { ContainerdNode } from "./containerd-node.ts";
import { snapshotNumber } from "./inject/linked-snapshots.ts";
import { prepareSnapshot } from "./prepare-snapshot.ts";

for (const runtime of await containerdRuntimes()) {
  describe(`a folder that no snapshot has, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let node: ContainerdNode;
    let disk: string;

    before(async () => {
      disk = (await makeInjectionDisk(scope, await makeInjectionImages(scope))).path;
      node = await openTestNode(scope, await runtime.start(scope));
    });
    after(() => scope.disposeAsync());

    // None is removed: containerd clears folders away by itself when it collects after a removal.
    const held = { labels: { "containerd.io/gc.root": "1" } };
    let count = 0;
    const folderOf = (number: number) => node.local(`${node.snapshotsFolder}/${number}`);

    /** The number that the next snapshot gets. */
    async function nextNumber(): Promise<number> {
      return Number(snapshotNumber(await node.snapshotWriter.prepare(`snapshot ${count++}`, held))) + 1;
    }

    /** As a power cut between the rename of a folder and its record leaves it. */
    async function leave(number: number): Promise<void> {
      await mkdir(`${folderOf(number)}/fs/folder`, { recursive: true });
      await mkdir(`${folderOf(number)}/work`);
      await writeFile(`${folderOf(number)}/fs/folder/file`, "left over");
    }

    test("keeps one snapshot from being made, and then is gone", async () => {
      const first = await nextNumber();
      await leave(first);
      await assert.rejects(node.snapshotWriter.prepare("bare", held), { code: "unknown", message: /file exists/ });
      await node.snapshotWriter.prepare("bare", held);
      assert.deepEqual(await readdir(`${folderOf(first)}/fs`), []);
    });

    test("makes way for the snapshot that gets its number, also when two are wanted at once", async () => {
      const first = await nextNumber();
      for (const number of [first, first + 1, first + 3]) await leave(number);
      const made = [];
      for (let index = 0; index < 3; index++)
        made.push(
          ...(await Promise.all(
            ["a", "b"].map((key) => prepareSnapshot(node, node.snapshotWriter, `${key}${index}`, held)),
          )),
        );
      const numbers = made.map((mounts) => Number(snapshotNumber(mounts)));
      assert.deepEqual(
        numbers.toSorted((a, b) => a - b),
        made.map((_, index) => first + index),
      );
      for (const number of numbers) assert.deepEqual(await readdir(`${folderOf(number)}/fs`), []);
    });

    test("does not keep a disk from being injected", async () => {
      const first = await nextNumber();
      await leave(first);
      await assertComplete(node, await injectPath(node, disk));
    });
  });
}
