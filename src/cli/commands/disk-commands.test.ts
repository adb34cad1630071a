import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { after, before, describe, it } from "node:test";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import * as t from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { main } from "../main.ts";

const scope = new AsyncDisposableStack();
const binary = Buffer.from(Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >>> 9)) & 0xff));
let disk: string;

before(async () => {
  const folder = await temporaryDirectory(scope, "commands");
  const layers = [
    t.tar(
      t.directory("bin/"),
      t.file("bin/tool", binary, { mode: 0o4755, mtime: 1_700_000_000, uid: 1000 }),
      t.hardLink("bin/other", "bin/tool", { mode: 0o4755, mtime: 1_700_000_000, uid: 1000 }),
      t.symbolicLink("bin/link", "tool"),
      t.device("null", "3", 1, 3),
      t.file(".hidden", "x"),
    ),
    t.tar(t.file("copy", binary)),
  ];
  const images = [
    await makeImage(`${folder}/layout`, { layers: layers.map((tar) => ({ tar })) }),
    await makeImage(`${folder}/layout`, { layers: [{ tar: layers[0] }] }),
  ];
  disk = (await buildTestDisk(folder, `${folder}/layout`, images)).path;
});
after(() => scope.disposeAsync());

async function nodewarm(...args: string[]): Promise<{ code: number; stdout: Buffer; stderr: string }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const [out, err] = [stdout.toArray(), stderr.toArray()];
  const io = { stdin: new PassThrough(), stdout, stderr, env: {}, signal: new AbortController().signal };
  const code = await main(args, io);
  stdout.end();
  stderr.end();
  return { code, stdout: Buffer.concat(await out), stderr: Buffer.concat(await err).toString() };
}

async function treeOf(position: number): Promise<string> {
  const { images } = JSON.parse((await nodewarm("inspect", "--json", disk)).stdout.toString());
  return images[position].tree;
}

describe("nodewarm inspect", () => {
  it("shows images, layers, what was saved and the oldest kernel", async () => {
    const { code, stdout } = await nodewarm("inspect", disk);
    assert.equal(code, 0);
    const text = stdout.toString();
    assert.match(text, /^disk +.*disk\.erofs, .* MiB, linux\/amd64$/m);
    assert.match(text, /^kernel +Linux 5\.4 or later$/m);
    assert.match(text, /^holds +2 images, 2 layers, \d+ entries, 2 distinct contents$/m);
    assert.match(text, /^saved +2\.86 MiB stored once instead of again \(50% of all file bytes\)$/m);
    assert.match(text, /^example\.com\/test\/image:0 +sha256:[0-9a-f]{12} +2 .*images\/[0-9a-f]{12}…$/m);
    assert.match(text, /^sha256:[0-9a-f]{12} .* 2 images$/m);
  });

  it("prints one JSON object with --json", async () => {
    const { stdout } = await nodewarm("inspect", "--json", disk);
    const { id, sizeBytes, bytes, deduplicatedBytes, minimumKernel, layers } = JSON.parse(stdout.toString());
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(sizeBytes, (await readFile(disk)).length);
    assert.equal(bytes.contents + bytes.metadata + bytes.blobs + bytes.layerImages + bytes.other, sizeBytes);
    assert.equal(deduplicatedBytes, binary.length);
    assert.equal(minimumKernel, "5.4");
    assert.deepEqual(
      layers.map((layer: { files: number; fileBytes: number }) => [layer.files, layer.fileBytes]).sort(),
      [
        [1, binary.length],
        [2, binary.length + 1],
      ],
    );
  });
});

describe("nodewarm ls", () => {
  it("lists folders, the root unless told otherwise", async () => {
    const { code, stdout } = await nodewarm("ls", disk);
    assert.equal(code, 0);
    assert.deepEqual(stdout.toString().split("\n"), [
      "blobs",
      "images",
      "layers",
      "nodewarm.files",
      "nodewarm.json",
      "",
    ]);
  });

  it("shows what ls -ln shows with -l", async () => {
    const tree = await treeOf(0);
    const { stdout } = await nodewarm("ls", "-l", disk, `${tree}/bin`);
    assert.equal(
      stdout.toString(),
      "lrwxrwxrwx 1    0 0       4 1970-01-01 00:00 link -> tool\n" +
        "-rwsr-xr-x 2 1000 0 3000000 2023-11-14 22:13 other\n" +
        "-rwsr-xr-x 2 1000 0 3000000 2023-11-14 22:13 tool\n",
    );
    assert.match((await nodewarm("ls", disk, tree, "-l")).stdout.toString(), /^crw-r--r-- 1 0 0 1, 3 .* null$/m);
  });

  it("leaves names with a dot in front to -a", async () => {
    const tree = await treeOf(0);
    assert.doesNotMatch((await nodewarm("ls", disk, tree)).stdout.toString(), /hidden/);
    assert.match((await nodewarm("ls", "-a", disk, tree)).stdout.toString(), /^\.\n\.\.\n\.hidden\n/);
  });

  it("says what is not there", async () => {
    const { code, stderr } = await nodewarm("ls", disk, "layers/none");
    assert.equal(code, 1);
    assert.match(stderr, /layers\/none: no such file or directory/);
  });
});

describe("nodewarm cat", () => {
  it("writes files byte for byte, one after the other", async () => {
    const tree = await treeOf(0);
    const { code, stdout } = await nodewarm("cat", disk, `${tree}/bin/tool`, `${tree}/.hidden`);
    assert.equal(code, 0);
    assert.ok(stdout.equals(Buffer.concat([binary, Buffer.from("x")])));
  });

  it("says why something cannot be written", async () => {
    const tree = await treeOf(0);
    for (const [path, reason] of [
      ["bin", "is a directory"],
      ["bin/link", "is a symbolic link to tool, which is not followed"],
      ["null", "is a device or fifo"],
    ]) {
      const { code, stderr } = await nodewarm("cat", disk, `${tree}/${path}`);
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`${path} ${reason}`));
    }
  });

  it("ends quietly when its reader has seen enough", async () => {
    const program = join(import.meta.dirname, "../main.ts");
    const child = spawn(process.execPath, [program, "cat", disk, `${await treeOf(0)}/bin/tool`]);
    const stderr = child.stderr.toArray();
    await once(child.stdout, "data");
    child.stdout.destroy();
    const [code] = await once(child, "exit");
    assert.equal(code, 0);
    assert.equal(Buffer.concat(await stderr).toString(), "");
  });
});

describe("nodewarm verify", () => {
  it("says that nothing is wrong", async () => {
    const { code, stdout } = await nodewarm("verify", disk);
    assert.equal(code, 0);
    assert.match(stdout.toString(), /disk\.erofs: nothing is wrong\nid .*\nchecked .*2 layer trees, 1 merged tree\n/);
    const json = JSON.parse((await nodewarm("verify", disk, "--json")).stdout.toString());
    assert.equal(json.ok, true);
    assert.deepEqual(json.problems, []);
  });

  it("shows each problem with its place, and exits with 1", async () => {
    const damaged = `${disk}.damaged`;
    const bytes = await readFile(disk);
    bytes[bytes.indexOf(binary.subarray(0, 4096)) + 100] ^= 1;
    await writeFile(damaged, bytes);
    const { code, stdout } = await nodewarm("verify", damaged);
    assert.equal(code, 1);
    assert.match(
      stdout.toString(),
      /^bytes \d+ to \d+: the file content is not what its digest says\n.*: 1 problem found\n$/,
    );
    const json = JSON.parse((await nodewarm("verify", damaged, "--json")).stdout.toString());
    assert.equal(json.ok, false);
    assert.equal(json.problems.length, 1);
  });

  it("does not take other files for disks", async () => {
    const other = `${disk}.other`;
    await writeFile(other, Buffer.alloc(100_000));
    for (const command of ["verify", "inspect"]) {
      const { code, stderr } = await nodewarm(command, other);
      assert.equal(code, 1);
      assert.match(stderr, /is not a cache disk: it holds no EROFS file system/);
    }
  });
});

it("wrong usage exits with 2 and --help with 0", async () => {
  for (const args of [["ls"], ["cat", disk], ["verify"], ["inspect", disk, disk], ["ls", "--what", disk]]) {
    const { code, stderr } = await nodewarm(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /--help/);
  }
  for (const command of ["ls", "cat", "verify", "inspect"]) {
    const { code, stdout } = await nodewarm(command, "--help");
    assert.equal(code, 0);
    assert.match(stdout.toString(), new RegExp(`^Usage: nodewarm ${command} DISK`));
  }
});
