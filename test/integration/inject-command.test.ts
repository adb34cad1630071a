import assert from "node:assert/strict";
import { copyFile, open } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { DiskReader } from "../../src/disk/reader/disk-reader.ts";
import type { InjectReport } from "../../src/runtime/runtime.ts";
import { finish } from "../support/cli.ts";
import { addLayer, makeImage } from "../support/image-maker.ts";
import { appName, baseName, makeInjectionDisk, toolName } from "../support/runtimes/injection.ts";
import { NodeCli, outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

type Report = {
  readonly runtimes: readonly { readonly disks: readonly (InjectReport & { readonly path: string })[] }[];
};

for (const runtime of await outermostRuntimes()) {
  describe(`nodewarm inject, ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let cli: NodeCli;
    before(async () => {
      cli = await NodeCli.start(scope, runtime);
    });
    after(() => scope.disposeAsync());

    test("with --image and --no-wait makes one image usable and leaves the layers below it", async () => {
      const { stdout } = await cli.succeed("inject", cli.disk.path, "--image", "example.com/team/tool:v1", "--no-wait");
      assert.match(stdout, /^example\.com\/team\/tool:v1 +sha256:[0-9a-f]{12} +injected +pending$/m);
      assert.match(stdout, /: 1 image; usable after .*layers of 1 left to the next run/);
      assert.equal(await cli.container(toolName), "tool 1\n");
      const disk = await cli.status();
      assert.deepEqual(
        disk?.images.map(({ names, chain }) => [names[0], chain]),
        [[toolName, "pending"]],
      );
    });

    test("tells of each image on standard error, and of all on standard output", async () => {
      const { stdout, stderr } = await cli.succeed("inject", cli.disk.path);
      assert.match(stderr, /^injecting .*disk\.erofs into containerd [\d.]+.* \(.*, k8s\.io\)$/m);
      assert.match(stderr, /^image \d\/3 example\.com\/team\/app:v1: usable after \d+\.\d+ s$/m);
      assert.match(stderr, /^image \d\/3 example\.com\/team\/tool:v1: usable before$/m);
      assert.match(stdout, /^example\.com\/team\/app:v1 +sha256:[0-9a-f]{12} +injected +complete$/m);
      assert.match(stdout, /^example\.com\/team\/tool:v1 .* present +complete$/m);
      assert.equal(await cli.container(appName), "variant 1\n");
      assert.equal(await cli.container(baseName), "base\n");
    });

    test("again finds everything there, and says so in one JSON object", async () => {
      const { stdout } = await cli.succeed("inject", cli.disk.path, "--json");
      const { runtimes } = JSON.parse(stdout) as Report;
      const [report] = runtimes[0]?.disks ?? [];
      assert.equal(report?.path, cli.disk.path);
      assert.equal(report?.disk, cli.disk.id);
      assert.deepEqual(
        report?.images.map(({ result, chain }) => `${result} ${chain}`),
        Array(3).fill("present complete"),
      );
    });

    test("--verify full refuses a disk with one wrong byte and changes nothing", async () => {
      const folder = await temporaryDirectory(scope, "damaged");
      const path = `${folder}/disk.erofs`;
      const { path: sound, id } = await makeInjectionDisk(scope, cli.images);
      await copyFile(sound, path);
      await damage(path);
      const { code, stdout, stderr } = await cli.run("inject", path, "--verify", "full");
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(stderr, /disk\.erofs is not injected, \d+ problems? found:\n {2}/);
      assert.equal(await cli.status(id), undefined);
      const full = await cli.run("inject", sound, "--verify", "full", "--image", toolName, "--no-wait");
      assert.match(full.stderr, /nothing is wrong/);
      assert.equal(full.code, 0, full.stderr);
    });

    test("after Ctrl-C the next run completes what was begun", async () => {
      const { path, id } = await makeLargeDisk(cli);
      const child = cli.begin("inject", path);
      let text = "";
      child.stderr?.on("data", (piece) => {
        const hadOne = text.includes("image 1/");
        text += piece;
        if (!hadOne && text.includes("image 1/")) child.kill("SIGINT");
      });
      const { code, stdout } = await finish(child);
      assert.equal(code, 130, "it was over before it could be interrupted");
      assert.equal(stdout, "");
      assert.match(text, /^nodewarm: interrupted$/m);
      const leases = await cli.daemon.ctr("-n", "k8s.io", "leases", "ls", "-q");
      assert.doesNotMatch(leases, /nodewarm/);
      await cli.succeed("inject", path);
      const disk = await cli.status(id);
      assert.equal(disk?.images.length, imageCount);
      assert.deepEqual(new Set(disk?.images.map(({ chain }) => chain)), new Set(["complete"]));
      assert.deepEqual(disk?.conditions, []);
    });

    test("two disks at once go into the runtime, the older one first", async () => {
      const line = `pair-${runtime.version}`;
      const [second, first] = [
        await makeInjectionDisk(scope, cli.images, { line, sequence: 2 }),
        await makeInjectionDisk(scope, cli.images, { line, sequence: 1 }),
      ];
      const { stdout } = await cli.succeed("inject", second.path, first.path, "--json");
      const { runtimes } = JSON.parse(stdout) as Report;
      assert.deepEqual(
        runtimes[0]?.disks.map(({ disk }) => disk),
        [first.id, second.id],
      );
      const again = await cli.run("inject", second.path, second.path);
      assert.equal(again.code, 2);
    });
  });
}

const imageCount = 60;

/** Many images whose chains take a while. */
async function makeLargeDisk(cli: NodeCli): Promise<{ readonly path: string; readonly id: string }> {
  await using scope = new AsyncDisposableStack();
  const { layout } = cli.images;
  const images: [string, Awaited<ReturnType<typeof makeImage>>][] = [];
  for (let i = 0; i < imageCount; i++) {
    const layers = [];
    for (let j = 0; j < 5; j++) layers.push(await addLayer(layout, { tar: tar(file(`f${i}-${j}`, `${i} ${j}\n`)) }));
    const platform = { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" };
    images.push([`example.com/many/${i}:v1`, await makeImage(layout, { layers, platform })]);
  }
  const kept = scope.move();
  largeDisks.use(kept);
  return makeInjectionDisk(kept, cli.images, { images });
}

const largeDisks = new AsyncDisposableStack();
after(() => largeDisks.disposeAsync());

/** Changes a byte of file data, which injection does not read. */
async function damage(path: string): Promise<void> {
  const disk = await DiskReader.openPath(path);
  const position = disk.files.firstBlock(0) * 4096;
  await disk.close();
  const handle = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 1;
  await handle.write(byte, 0, 1, position);
  await handle.close();
}
