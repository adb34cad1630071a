import assert from "node:assert/strict";
import test from "node:test";
import { type DirectoryTree, makeLayerTree, type TreeNode } from "../../test/support/layer-tree-maker.ts";
import { instantiate } from "./implied-directories.ts";
import type { LayerInstance } from "./layer-instance.ts";

const file: TreeNode = { kind: "file", mtime: 1 };
const directory = (children: Record<string, TreeNode>, mode?: number): DirectoryTree =>
  mode === undefined ? { kind: "directory", children } : { kind: "directory", children, mode };
const implied = (children: Record<string, TreeNode>): DirectoryTree => ({ ...directory(children), isImplied: true });

/** Modes that the directories of `layer` get over `below` (topmost first), by directory number. */
function modes(layer: DirectoryTree, ...below: DirectoryTree[]): Record<number, string> {
  const instances: LayerInstance[] = below.map((tree) => ({ tree: makeLayerTree(tree), implied: new Map() }));
  const { implied } = instantiate(makeLayerTree(layer), instances);
  return Object.fromEntries([...implied].map(([number, { mode }]) => [number, (mode & 0o7777).toString(8)]));
}

const layer = directory({ app: implied({ new: file }) });

test("an implied directory takes what the first layer below that has it gives", () => {
  assert.deepEqual(
    modes(layer, directory({}), directory({ app: directory({}, 0o700) }), directory({ app: directory({}, 0o711) })),
    { 1: "700" },
  );
});

test("without such a layer it stays as it is", () => {
  assert.deepEqual(modes(layer, directory({ other: directory({}, 0o700) })), {});
});

test("without such a layer it is of the group of a setgid directory that it is in, be that implied itself", () => {
  const tree = makeLayerTree(directory({ app: implied({ sub: implied({ new: file }) }) }));
  const below = makeLayerTree(directory({ app: { ...directory({}, 0o2770), gid: 7 } }));
  const { implied: found } = instantiate(tree, [{ tree: below, implied: new Map() }]);
  assert.deepEqual(
    [...found].map(([, { mode, gid }]) => [(mode & 0o7777).toString(8), gid]),
    [
      ["2770", 7],
      ["755", 7],
    ],
  );
});

test("a file or whiteout at its path ends the search", () => {
  assert.deepEqual(
    modes(layer, directory({ app: { kind: "whiteout" } }), directory({ app: directory({}, 0o700) })),
    {},
  );
});

test("a whiteout in the lowest layer is nothing: containerd makes none there", () => {
  const deep = directory({ app: implied({ sub: implied({ new: file }) }) });
  const lowest = directory({ app: { kind: "whiteout" } });
  assert.deepEqual(modes(deep, directory({}), lowest), {});
  assert.throws(() => modes(deep, lowest, directory({})), /"app", which is no directory/);
});

test("links of the layer below are followed within its root", () => {
  const below = directory({
    app: { kind: "link", target: "/real/../real" },
    real: directory({}, 0o750),
  });
  assert.deepEqual(modes(layer, below), { 1: "750" });
});

test("a dangling link counts as nothing there", () => {
  const dangling = directory({ app: { kind: "link", target: "nowhere" } });
  assert.deepEqual(modes(layer, dangling, directory({ app: directory({}, 0o700) })), { 1: "700" });
});

test("a path below that goes through a file is refused, as containerd does", () => {
  const deep = directory({ app: implied({ sub: implied({ new: file }) }) });
  assert.throws(() => modes(deep, directory({ app: file })), /"app", which is no directory in a lower layer/);
});

test("a loop of links below is refused", () => {
  const loop = directory({ app: { kind: "link", target: "app" } });
  assert.throws(() => modes(layer, loop), /more than 255 links/);
});
