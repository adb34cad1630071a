import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { main as runCli } from "../../src/cli/main.ts";
import { type CliResult, finish, main, start } from "../support/cli.ts";
import { makeImage, tagInLayout } from "../support/image-maker.ts";
import { directory, file, symbolicLink, tar, whiteout } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const fixtures = new AsyncDisposableStack();
const faultSteps = pathToFileURL(join(import.meta.dirname, "../support/fault-steps.ts")).href;
const oldDisk = Buffer.from("an older disk");
let layout: string;
/** What the build makes when nothing goes wrong, and its steps. */
let complete: Buffer;
let steps: readonly string[];

before(async () => {
  const work = await temporaryDirectory(fixtures, "crash");
  layout = join(work, "layout");
  const base = tar(directory("etc"), file("etc/one", "1"), file("big", Buffer.alloc(2_500_000, 7)), file("two", "2"));
  const above = tar(file("etc/three", "3"), whiteout("two"), symbolicLink("link", "big"), file("x", "y".repeat(9000)));
  const image = await makeImage(layout, {
    layers: [{ tar: base }, { tar: above }],
    platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch },
  });
  await tagInLayout(layout, image.manifest, "a");
  const log = join(work, "steps");
  await writeFile(join(work, "disk.erofs"), oldDisk);
  const result = await build(work, { NODEWARM_FAULT_LOG: log });
  assert.equal(result.code, 0, result.stderr);
  complete = await readFile(join(work, "disk.erofs"));
  steps = (await readFile(log, "utf8")).trim().split("\n");
});
after(() => fixtures.disposeAsync());

function build(cwd: string, env: Readonly<Record<string, string>>): Promise<CliResult> {
  return finish(start(buildWords("disk.erofs"), { cwd, env }, [process.execPath, "--import", faultSteps, main]));
}

function buildWords(output: string): readonly string[] {
  const options = ["--blobs", "--erofs-cache", "--progress", "none", "--jobs", "1"];
  return ["build", `oci:${layout}:a`, "-o", output, ...options];
}

/** As `build`, in this process, which is quicker; what it says on stderr. */
async function buildHere(path: string): Promise<string> {
  const stderr = new PassThrough();
  const { signal } = new AbortController();
  const io = { stdin: Readable.from([]), stdout: new PassThrough(), stderr, env: {}, signal };
  const code = await runCli(buildWords(path), io);
  return code === 0 ? "" : String(stderr.read());
}

/** The first, the last five, all around what is no write, and others between: at most about 40. */
function chosenSteps(): readonly number[] {
  const chosen = new Set<number>([0]);
  for (const [number, name] of steps.entries()) {
    const isLast = number >= steps.length - 5;
    if (name !== "write" || isLast) for (const near of [number - 1, number, number + 1]) chosen.add(near);
  }
  const between = Math.max(1, Math.ceil(steps.length / Math.max(1, 40 - chosen.size)));
  for (let number = 0; number < steps.length; number += between) chosen.add(number);
  return [...chosen].filter((number) => number >= 0 && number < steps.length).sort((a, b) => a - b);
}

describe("a build that is killed at any step of writing", () => {
  it("leaves the older disk, or after the rename the new one, and the next build succeeds", async () => {
    assert.ok(steps.includes("rename") && steps.includes("sync") && steps.includes("truncate"), steps.join());
    const renamed = steps.indexOf("renamed");
    const queue = [...chosenSteps()];
    const work = async () => {
      await using scope = new AsyncDisposableStack();
      const cwd = await temporaryDirectory(scope, "crash");
      const path = join(cwd, "disk.erofs");
      for (let number = queue.shift(); number !== undefined; number = queue.shift()) {
        const what = `step ${number} of ${steps.length}, ${steps[number]}`;
        await writeFile(path, oldDisk);
        const killed = await build(cwd, { NODEWARM_FAULT: "kill", NODEWARM_FAULT_STEP: String(number) });
        assert.equal(killed.code, null, `${what}: ${killed.stderr}`);
        assert.ok((await readFile(path)).equals(number >= renamed ? complete : oldDisk), what);
        assert.equal(await buildHere(path), "", what);
        assert.ok((await readFile(path)).equals(complete), what);
        assert.deepEqual(await readdir(cwd), ["disk.erofs"], what);
      }
    };
    await Promise.all([work(), work()]);
  });
});

describe("a step of writing that fails", () => {
  const failing = [
    ["ENOSPC", "write", "first"],
    ["EIO", "write", "last"],
    ["EIO", "truncate", "last"],
    ["EIO", "sync", "first"],
    ["EACCES", "rename", "first"],
  ] as const;
  for (const [code, name, which] of failing) {
    it(`${code} of the ${which} ${name} is one error, and leaves what was there`, async () => {
      await using scope = new AsyncDisposableStack();
      const cwd = await temporaryDirectory(scope, "crash");
      await writeFile(join(cwd, "disk.erofs"), oldDisk);
      const number = which === "first" ? steps.indexOf(name) : steps.lastIndexOf(name);
      const result = await build(cwd, { NODEWARM_FAULT: code, NODEWARM_FAULT_STEP: String(number) });
      assert.equal(result.code, 1, result.stderr);
      assert.match(result.stderr, new RegExp(`^nodewarm: cannot write disk\\.erofs: ${code}: made to fail.*\n$`));
      assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
      assert.ok((await readFile(join(cwd, "disk.erofs"))).equals(oldDisk));
    });
  }

  it("leaves nothing where nothing was", async () => {
    await using scope = new AsyncDisposableStack();
    const cwd = await temporaryDirectory(scope, "crash");
    const number = steps.indexOf("write");
    const result = await build(cwd, { NODEWARM_FAULT: "ENOSPC", NODEWARM_FAULT_STEP: String(number) });
    assert.equal(result.code, 1, result.stderr);
    assert.deepEqual(await readdir(cwd), []);
  });
});
