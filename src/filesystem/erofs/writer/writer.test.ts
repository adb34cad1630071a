import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { type DirectoryTree, makeLayerTree, type TreeNode } from "../../../../test/support/layer-tree-maker.ts";
import { layerView } from "../../tree-view.ts";
import { blockBytes } from "../constants.ts";
import { placeDirectories, writeDirectories } from "./directories.ts";
import { type ContentPlaces, writeLeafInodes } from "./leaf-inodes.ts";
import { createMetadataArea } from "./metadata-area.ts";
import { MemoryOutput } from "./output.ts";
import { encodeSuperblock } from "./superblock.ts";

const run = promisify(execFile);

const noContents: ContentPlaces = {
  sizeBytes: () => 0,
  firstBlock: () => 0,
  chunkBlocks: () => undefined,
};

async function image(root: DirectoryTree): Promise<Uint8Array> {
  const output = new MemoryOutput();
  const tree = makeLayerTree(root);
  const area = createMetadataArea(output, 1, 1);
  const view = layerView({ tree, implied: new Map() });
  const places = await placeDirectories(area, view);
  const nids = await writeLeafInodes(area, tree, noContents);
  await writeDirectories(area, view, places, [nids], places.nids[0]);
  const blockCount = 1 + area.allocator.blockCount;
  await area.writer.finish(area.allocator.blockCount * blockBytes);
  await output.write(
    encodeSuperblock({
      rootNid: places.nids[0],
      inodeCount: area.inodeCount,
      buildTime: 0,
      blockCount,
      metadataBlock: 1,
      uuid: new Uint8Array(16),
      volumeName: "test",
      featureIncompat: 0,
    }),
    0,
  );
  return output.bytes(blockCount * blockBytes);
}

const file: TreeNode = { kind: "file", mtime: 1 };

function directoryOf(count: number, nameOf: (i: number) => string, node: (i: number) => TreeNode): DirectoryTree {
  return {
    kind: "directory",
    children: Object.fromEntries(Array.from({ length: count }, (_, i) => [nameOf(i), node(i)])),
  };
}

const trees: Record<string, DirectoryTree> = {
  "an empty root": directoryOf(0, String, () => file),
  "names around the dots": {
    kind: "directory",
    children: { "!": file, "-": file, ".-": file, "..a": file, "...": file, "0": file },
  },
  "a directory of 100,000 entries": directoryOf(
    100_000,
    (i) => `entry-${i}`,
    () => file,
  ),
  "thousands of directories of all sizes": directoryOf(
    2000,
    (i) => `d${i}`,
    (i) =>
      directoryOf(
        i % 150,
        (n) => `file-${n}-${"x".repeat(n % 40)}`,
        () => file,
      ),
  ),
  "names of 255 bytes": directoryOf(
    40,
    (i) => `${i}`.padEnd(255, "n"),
    () => file,
  ),
  "links short and long": directoryOf(
    300,
    (i) => `l${i}`,
    (i) => ({ kind: "link", target: "t".repeat(1 + ((i * 37) % 4094)) }),
  ),
};

for (const [name, tree] of Object.entries(trees))
  test(`fsck.erofs accepts ${name}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "nodewarm-writer-"));
    try {
      const path = join(folder, "image");
      await writeFile(path, await image(tree));
      const { stdout, stderr } = await run("fsck.erofs", ["-d3", path]);
      assert.match(stdout + stderr, /No errors found/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
