import assert from "node:assert/strict";
import { fileType, type LayerTree, noContent } from "../../src/layers/layer-tree.ts";

/** Asserts all that `LayerTree` promises about order, ranges and counts. */
export function checkTree(tree: LayerTree, contentCount: number): void {
  const { entryCount, inodeCount, directoryCount } = tree;
  const typeOf = (inode: number) => (tree.attributes[tree.attribute[inode] as number]?.mode ?? 0) & fileType.mask;
  const nameOf = (entry: number) =>
    tree.names.subarray(entry === 0 ? 0 : tree.nameEnds[entry - 1], tree.nameEnds[entry]);
  assert.equal(tree.nameEnds.length, entryCount);
  assert.equal(tree.entryInode.length, entryCount);
  assert.equal(tree.nameEnds[0], 0);
  assert.equal(tree.nameEnds.at(-1), tree.names.length);
  assert.equal(tree.firstChild.length, directoryCount + 1);
  assert.equal(tree.firstChild[0], 1);
  assert.equal(tree.firstChild[directoryCount], entryCount);
  for (const column of [tree.attribute, tree.mtimeSeconds, tree.mtimeNanoseconds, tree.linkCount, tree.payload])
    assert.equal(column.length, inodeCount);

  const links = new Uint32Array(inodeCount);
  const firstEntry = new Uint32Array(inodeCount).fill(noContent);
  let nextDirectory = 0;
  for (let entry = 0; entry < entryCount; entry++) {
    const inode = tree.entryInode[entry] as number;
    links[inode] = (links[inode] as number) + 1;
    if (firstEntry[inode] === noContent) firstEntry[inode] = entry;
    if (typeOf(inode) === fileType.directory) assert.equal(inode, nextDirectory++, "directories are numbered by entry");
  }
  assert.equal(nextDirectory, directoryCount);

  let implied = 0;
  for (let inode = 0; inode < directoryCount; inode++) {
    const start = tree.firstChild[inode] as number;
    const end = tree.firstChild[inode + 1] as number;
    assert.ok(start <= end);
    let subdirectories = 0;
    for (let entry = start; entry < end; entry++) {
      assert.ok(nameOf(entry).length > 0);
      if (entry > start) assert.ok(Buffer.compare(nameOf(entry - 1), nameOf(entry)) < 0, "names ascend");
      if ((tree.entryInode[entry] as number) < directoryCount) subdirectories++;
    }
    assert.equal(tree.linkCount[inode], 2 + subdirectories);
    assert.ok(tree.payload[inode] === 0 || tree.payload[inode] === 1);
    implied += tree.payload[inode] as number;
  }
  assert.equal(tree.impliedDirectoryCount, implied);

  const run = (inode: number) => {
    if (inode < directoryCount) return 1;
    return typeOf(inode) === fileType.regular && tree.payload[inode] !== noContent ? 3 : 2;
  };
  let nextTarget = 0;
  for (let inode = directoryCount; inode < inodeCount; inode++) {
    assert.notEqual(firstEntry[inode], noContent, "every inode has an entry");
    assert.equal(tree.linkCount[inode], links[inode]);
    if (typeOf(inode) === fileType.symbolicLink) assert.equal(tree.payload[inode], nextTarget++);
    if (run(inode) === 3) assert.ok((tree.payload[inode] as number) < contentCount);
    if (inode === directoryCount) continue;
    assert.ok(run(inode - 1) <= run(inode), "runs follow each other");
    if (run(inode - 1) !== run(inode)) continue;
    const before = run(inode) === 3 ? (tree.payload[inode - 1] as number) : 0;
    const here = run(inode) === 3 ? (tree.payload[inode] as number) : 0;
    assert.ok(before < here || (before === here && (firstEntry[inode - 1] as number) < (firstEntry[inode] as number)));
  }
  assert.equal(tree.targetEnds.length, nextTarget);
  assert.equal(tree.targetEnds.at(-1) ?? 0, tree.targets.length);
  for (let inode = 0; inode < inodeCount; inode++) {
    assert.ok(Number.isInteger(tree.mtimeSeconds[inode]) && (tree.mtimeSeconds[inode] as number) >= 0);
    assert.ok((tree.mtimeNanoseconds[inode] as number) < 1e9);
  }
  const used = new Set(tree.attribute);
  assert.equal(used.size, tree.attributes.length, "all attributes are used");
}
