import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { digestHex } from "../../src/oci/descriptor.ts";
import {
  bigContent,
  type CliImages,
  disksOf,
  finish,
  host,
  main,
  makeCliImages,
  nodewarm,
  root,
  start,
  succeed,
} from "../support/cli.ts";
import { blobPath, makeImage, makeIndex, pushToRegistry, tagInLayout } from "../support/image-maker.ts";
import { findProgram, needs } from "../support/privileges.ts";
import { startRegistry } from "../support/registry.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

let layout: string;
let web: CliImages["web"];
let api: CliImages["api"];
const fixtures = new AsyncDisposableStack();

before(async () => {
  ({ layout, web, api } = await makeCliImages(fixtures));
});
after(() => fixtures.disposeAsync());

test("the program tells its version and its commands, and refuses others", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  assert.match((await succeed(["--version"], { cwd })).stdout, /^nodewarm \d+\.\d+\.\d+\n$/);
  assert.match((await succeed(["--help"], { cwd })).stdout, /build .*\n.*inspect/);
  assert.match((await succeed(["build", "--help"], { cwd })).stdout, /--limit NAME=VALUE/);
  const unknown = await nodewarm(["biuld"], { cwd });
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /^nodewarm: unknown command "biuld"; did you mean "build"\?\n/);
  assert.equal((await nodewarm([], { cwd })).code, 2);
});

test("bin/nodewarm runs from any folder, also through a link", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const result = await finish(start(["--version"], { cwd }, [join(root, "bin/nodewarm")]));
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, /^nodewarm /);
});

test("--json prints one object that tells all about the disk, and nothing else", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const args = ["build", `oci:${layout}:web`, `oci:${layout}:api`, "-o", "disk.erofs", "--json", "--progress", "none"];
  const result = await succeed(args, { cwd });
  assert.equal(result.stderr, "");
  const [disk, ...others] = disksOf(result);
  assert.deepEqual(others, []);
  assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
  assert.equal(disk.path, "disk.erofs");
  assert.match(disk.id, /^[0-9a-f]{64}$/);
  assert.equal(disk.line, "default");
  assert.equal(disk.created, "2026-01-02T03:04:05Z");
  assert.equal(disk.sequence, Date.parse("2026-01-02T03:04:05Z") / 1000);
  assert.equal(disk.sizeBytes, (await stat(join(cwd, "disk.erofs"))).size);
  assert.deepEqual([disk.images, disk.layers], [2, 3]);
  assert.equal(disk.files, 4, "the tool in two layers is one content");
  assert.ok(disk.bytes.deduplicated >= bigContent.length);
  const layers = new Map([...web.layers, ...api.layers].map((layer) => [layer.diffID, layer.descriptor.size]));
  assert.equal(
    disk.bytes.fetched,
    [...layers.values()].reduce((sum, size) => sum + size, 0),
  );
  assert.deepEqual(Object.keys(disk.seconds).sort(), ["layers", "metadata", "resolve", "sync", "total"]);
});

test("without --json a summary stands on stdout and a line per layer on stderr", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const { stdout, stderr } = await succeed(["build", `oci:${layout}:web`, "-o", "disk.erofs"], { cwd });
  assert.match(stdout, /^disk +disk\.erofs, .*\nid +[0-9a-f]{64}\nline +default/);
  assert.match(stdout, /\nholds +1 image, 2 layers, /);
  assert.match(stdout, /\ntook +.*: resolve .*, layers .*, metadata .*, sync /);
  assert.match(stderr, /^resolving 1 image\nbuilding disk\.erofs: 2 layers, /);
  for (const { diffID } of web.layers) {
    const short = diffID.slice(0, 19);
    assert.match(stderr, new RegExp(`layer \\d/2 ${short}: reading `));
    assert.match(stderr, new RegExp(`layer \\d/2 ${short}: done in `));
  }
});

test("images come from a registry, listed by an image set on standard input", {
  skip: !findProgram("docker-registry") && "needs docker-registry",
}, async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  await pushToRegistry(layout, web.manifest, { origin: registry.origin, repository: "shop/web", tag: "1" });
  await pushToRegistry(layout, api.manifest, { origin: registry.origin, repository: "shop/api", tag: "1" });
  const set = `apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata: {name: shop}
spec:
  images:
  - ref: ${registry.host}/shop/web:1
  - ref: ${registry.host}/shop/api@${api.manifest.digest}
`;
  const args = ["build", "-f", "-", `${registry.host}/shop/web:1`, "-o", "disk.erofs", "--json"];
  registry.resetCounts();
  const [disk] = disksOf(await succeed(args, { cwd, input: set }));
  assert.equal(disk.line, "shop");
  assert.equal(disk.images, 2);
  const blobs = registry.requests.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"));
  assert.equal(blobs.length, new Set(blobs.map(({ path }) => path.split("/").at(-1))).size, "no blob is fetched twice");
});

test("several platforms make several disks", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const args = [
    "build",
    `oci:${layout}:web`,
    "-o",
    "disk-{platform}.erofs",
    "--platform",
    `linux/${host.architecture}`,
  ];
  const [disk] = disksOf(await succeed([...args, "--json"], { cwd }));
  assert.equal(disk.path.startsWith(`disk-linux-${host.architecture}`), true);
  assert.deepEqual(await readdir(cwd), [disk.path]);
  await rm(join(cwd, disk.path));
  const missing = await nodewarm([...args, "--platform", "linux/s390x"], { cwd });
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /s390x/);
  assert.deepEqual(await readdir(cwd), [], "nothing is built when an image lacks one of the platforms");
});

test("an index with several platforms gives a disk of each", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const both = join(cwd, "layout");
  await mkdir(both);
  const platforms = [
    { os: "linux", architecture: "amd64" },
    { os: "linux", architecture: "arm64", variant: "v8" },
  ];
  const manifests = [];
  for (const platform of platforms) {
    const layers = [{ tar: tar(file("arch", platform.architecture)) }];
    manifests.push((await makeImage(both, { layers, platform })).manifest);
  }
  await tagInLayout(both, await makeIndex(both, manifests), "app");
  const args = ["build", `oci:${both}:app`, "-o", "{platform}.erofs", "--json"];
  const disks = disksOf(await succeed([...args, "--platform", "linux/amd64", "--platform", "linux/arm64"], { cwd }));
  assert.deepEqual(
    disks.map(({ path, platform }) => [path, platform]),
    [
      ["linux-amd64.erofs", platforms[0]],
      ["linux-arm64-v8.erofs", platforms[1]],
    ],
  );
  assert.equal(new Set(disks.map(({ id }) => id)).size, 2);
});

test("the same input gives the same bytes, whatever the number of jobs", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const images = [`oci:${layout}:web`, `oci:${layout}:api`];
  await succeed(["build", ...images, "-o", "one.erofs", "--jobs", "1"], { cwd });
  await succeed(["build", ...images.reverse(), "-o", "four.erofs", "--jobs", "4"], { cwd });
  assert.ok((await readFile(join(cwd, "one.erofs"))).equals(await readFile(join(cwd, "four.erofs"))));
  const dated = { cwd, env: { SOURCE_DATE_EPOCH: "1234567890" } };
  const [disk] = disksOf(await succeed(["build", ...images, "-o", "dated.erofs", "--json"], dated));
  assert.equal(disk.created, "2009-02-13T23:31:30Z");
});

test("--from the disk at -o reuses its layers and gives the same bytes", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const args = ["build", `oci:${layout}:web`, "-o", "disk.erofs", "--json"];
  await succeed(args, { cwd });
  const first = await readFile(join(cwd, "disk.erofs"));
  const [disk] = disksOf(await succeed([...args, "--from", "disk.erofs"], { cwd }));
  assert.equal(disk.bytes.fetched, 0);
  assert.ok(disk.bytes.reused > 0);
  assert.ok((await readFile(join(cwd, "disk.erofs"))).equals(first));
});

test("the build of each platform reads what lies at --from by then, also where the one before has replaced it", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const both = join(cwd, "layout");
  await mkdir(both);
  const shared = tar(file("shared", randomBytes(300_000)));
  const platforms = [
    { os: "linux", architecture: "amd64" },
    { os: "linux", architecture: "arm64" },
  ];
  /** Where the shared content lies on the disk depends on what comes before it. */
  const build = async (first: string, ...more: readonly string[]) => {
    const manifests = [];
    for (const platform of platforms) {
      const layers = [{ tar: tar(file("own", platform.architecture.repeat(first.length * 5000))) }, { tar: shared }];
      manifests.push((await makeImage(both, { layers, platform })).manifest);
    }
    await tagInLayout(both, await makeIndex(both, manifests), "app");
    const args = ["build", `oci:${both}:app`, "-o", "{platform}.erofs", "--json", ...more];
    return disksOf(await succeed([...args, "--platform", "linux/amd64", "--platform", "linux/arm64"], { cwd }));
  };
  await build("x");
  const reused = await build("longer", "--from", "linux-amd64.erofs");
  const fresh = await build("longer");
  assert.deepEqual(
    reused.map(({ id }) => id),
    fresh.map(({ id }) => id),
  );
  assert.ok(reused.every(({ bytes }) => bytes.reused > 0));
});

test("an ordinary user builds, inspects, reads and verifies a disk", { skip: needs("setpriv") }, async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  await chmod(cwd, 0o777);
  await chmod(join(layout, ".."), 0o755);
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, main];
  const asNobody = async (...args: string[]) => {
    const result = await finish(start(args, { cwd }, nobody));
    assert.equal(result.code, 0, result.stderr);
    return result;
  };
  await asNobody("build", `oci:${layout}:web`, "-o", "disk.erofs");
  assert.equal((await stat(join(cwd, "disk.erofs"))).uid, 65534);
  assert.match((await asNobody("inspect", "disk.erofs")).stdout, /layers/);
  await asNobody("verify", "disk.erofs");
  const tree = `/layers/${digestHex(web.layers[1].diffID)}`;
  assert.match((await asNobody("ls", "disk.erofs", `${tree}/srv`)).stdout, /index\.html/);
  assert.equal((await asNobody("cat", "disk.erofs", `${tree}/srv/index.html`)).stdout, "<h1>hello</h1>\n");
});

test("wrong usage is exit 2 and touches nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const image = `oci:${layout}:web`;
  for (const args of [
    [image, "-o", "."],
    [image, "-o", "/dev/null"],
    [image, "-o", "disk.erofs", "--unknown"],
  ]) {
    const { code, stdout, stderr } = await nodewarm(["build", ...args], { cwd });
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, /^nodewarm: .*\nRun "nodewarm build --help" for usage\.\n$/);
    assert.equal(stdout, "");
  }
  assert.deepEqual(await readdir(cwd), []);
});

test("a failure is exit 1 with one error, and the disk at -o stays as it was", async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const broken = join(await temporaryDirectory(scope, "broken"), "layout");
  await mkdir(broken);
  const image = await makeImage(broken, { layers: [{ tar: tar(file("a", bigContent)) }], platform: host });
  await tagInLayout(broken, image.manifest, "broken");
  const blob = blobPath(broken, image.layers[0].descriptor.digest);
  const bytes = await readFile(blob);
  bytes[bytes.length - 1000] ^= 1;
  await writeFile(blob, bytes);
  await writeFile(join(cwd, "disk.erofs"), "an older disk");
  for (const [argument, message] of [
    [`oci:${broken}:broken`, new RegExp(image.layers[0].descriptor.digest.slice(7, 19))],
    [`oci:${layout}:no-such-tag`, /no-such-tag/],
    ["oci:no-such-folder:x", /no-such-folder/],
    ["127.0.0.1:1/a/b:1", /127\.0\.0\.1:1/],
  ] as const) {
    const { code, stdout, stderr } = await nodewarm(
      ["build", argument, "-o", "disk.erofs", "--json", "--progress", "none", "--limit", "fetch-retries=0"],
      { cwd },
    );
    assert.equal(code, 1, `${argument}: ${stderr}`);
    assert.match(stderr, /^nodewarm: /);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /unexpected error|\n {4}at /);
    assert.equal(stdout, "");
    assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
    assert.equal(await readFile(join(cwd, "disk.erofs"), "utf8"), "an older disk");
  }
});

test("on a terminal there are bars, gone at the end", { skip: !findProgram("script") && "needs script" }, async () => {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope);
  const command = `${process.execPath} ${main} build oci:${layout}:web -o disk.erofs`;
  const child = start([], { cwd, env: { TERM: "xterm", LANG: "C.UTF-8" } }, ["script", "-qec", command, "/dev/null"]);
  const { code, stdout } = await finish(child);
  assert.equal(code, 0, stdout);
  const esc = "\u001b";
  assert.ok(stdout.includes(`${esc}[?25l`), "hides the cursor");
  assert.ok(stdout.lastIndexOf(`${esc}[J${esc}[?25h`) > 0, "clears the bars and shows the cursor");
  assert.match(stdout.slice(stdout.lastIndexOf(`${esc}[?25h`)), /disk +disk\.erofs/);
});
