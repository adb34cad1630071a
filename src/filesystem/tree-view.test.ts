import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type DirectoryTree, makeLayerTree, type TreeNode } from "../../test/support/layer-tree-maker.ts";
import type { LayerInstance } from "./layer-instance.ts";
import { entryName } from "./names.ts";
import { createListing, type DirectoryNode, layerView, mergedView, type TreeView } from "./tree-view.ts";

/** What a view shows: a file is its mtime. */
type Shown =
  | number
  | string
  | { readonly mtime: number; readonly xattrs: number; readonly children: Record<string, Shown> };

function instance(root: DirectoryTree): LayerInstance {
  return { tree: makeLayerTree(root), implied: new Map() };
}

function show(view: TreeView, node: DirectoryNode = view.root): Shown {
  const listing = createListing();
  view.list(node, listing);
  const children: Record<string, Shown> = {};
  for (let i = 0; i < listing.count; i++) {
    const { tree } = view.instances[listing.instance[i]];
    const name = new TextDecoder().decode(entryName(tree, listing.entry[i]));
    const directory = listing.directory[i];
    const inode = tree.entryInode[listing.entry[i]];
    children[name] = directory !== undefined ? show(view, directory) : tree.mtimeSeconds[inode];
  }
  const { mtimeSeconds, xattrs } = view.attributes(node);
  return { mtime: mtimeSeconds, xattrs: xattrs.length, children };
}

/** overlayfs in words: layers are applied from the bottom, each over what is there. */
function overlay(below: TreeNode | undefined, above: TreeNode): TreeNode | undefined {
  if (above.kind === "whiteout") return undefined;
  if (above.kind !== "directory") return above;
  const under = below?.kind === "directory" && !above.isOpaque ? below.children : {};
  const children: Record<string, TreeNode> = { ...under };
  for (const [name, child] of Object.entries(above.children)) {
    const result = overlay(under[name], child);
    if (result === undefined) delete children[name];
    else children[name] = result;
  }
  return { ...above, isOpaque: false, children };
}

function showModel(node: TreeNode): Shown {
  if (node.kind === "file") return node.mtime;
  if (node.kind !== "directory") return 0;
  const children: Record<string, Shown> = {};
  for (const [name, child] of Object.entries(node.children)) children[name] = showModel(child);
  return { mtime: node.mtime ?? 0, xattrs: 0, children };
}

const name = fc.constantFrom("a", "b", "c", "-d", "é");
const { node: nodeArbitrary } = fc.letrec<{ node: TreeNode; directory: DirectoryTree }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("file" as const), mtime: fc.nat(1e6) }) },
    { weight: 1, arbitrary: fc.constant({ kind: "whiteout" as const }) },
    { weight: 4, arbitrary: tie("directory") },
  ),
  directory: fc.record({
    kind: fc.constant("directory" as const),
    mtime: fc.nat(1e6),
    isOpaque: fc.boolean(),
    children: fc.dictionary(name, tie("node"), { maxKeys: 4 }),
  }),
}));
const directoryArbitrary = nodeArbitrary.filter((node): node is DirectoryTree => node.kind === "directory");

test("a merged view shows what overlayfs would, to which the opaque mark of a root means nothing", () => {
  fc.assert(
    fc.property(fc.array(directoryArbitrary, { minLength: 1, maxLength: 5 }), (fromBottom) => {
      const roots = fromBottom.map((root) => ({ ...root, isOpaque: false }));
      const model = roots.reduce<TreeNode | undefined>(overlay, undefined);
      const view = mergedView(fromBottom.map(instance).reverse());
      assert.deepEqual(show(view), model === undefined ? undefined : showModel(model));
    }),
    { numRuns: 300 },
  );
});

test("children come in the order of their bytes, whatever layer they are from", () => {
  const file: TreeNode = { kind: "file", mtime: 1 };
  const view = mergedView([
    instance({ kind: "directory", children: { b: file, é: file } }),
    instance({ kind: "directory", children: { a: file, z: file, "-": file } }),
  ]);
  const shown = show(view);
  assert.ok(typeof shown === "object");
  assert.deepEqual(Object.keys(shown.children), ["-", "a", "b", "z", "é"]);
});

test("a layer's own view keeps whiteouts and opaque marks", () => {
  const view = layerView(
    instance({
      kind: "directory",
      children: { gone: { kind: "whiteout" }, sub: { kind: "directory", isOpaque: true, children: {} } },
    }),
  );
  assert.deepEqual(show(view), {
    mtime: 0,
    xattrs: 0,
    children: { gone: 0, sub: { mtime: 0, xattrs: 1, children: {} } },
  });
});
