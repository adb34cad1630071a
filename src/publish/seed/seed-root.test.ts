import assert from "node:assert/strict";
import { chmod, copyFile, lstat, mkdir, open, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeSmallDisk, type SmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { RootFolder } from "./root-folder.ts";
import { type SeedOptions, type SeedReport, seedRoot } from "./seed-root.ts";
import { uninstallFiles } from "./uninstall-files.ts";

const fixtures = new AsyncDisposableStack();
let disk: SmallDisk;
let program: string;

before(async () => {
  disk = await makeSmallDisk(fixtures);
  program = await temporaryDirectory(fixtures, "program");
  await mkdir(join(program, ".cache/compile"), { recursive: true });
  for (const name of ["nodewarm", "nodewarm.mjs", "node", ".cache/compile/x"])
    await writeFile(join(program, name), name);
});
after(() => fixtures.disposeAsync());

async function rootWith(scope: Scope, ...units: readonly string[]): Promise<string> {
  const root = await temporaryDirectory(scope, "root");
  await mkdir(join(root, "etc"));
  await mkdir(join(root, "usr/lib/systemd/system"), { recursive: true });
  for (const unit of units) await writeFile(join(root, "usr/lib/systemd/system", unit), "[Service]\n");
  return root;
}

function seed(root: string, more: Partial<SeedOptions> = {}): Promise<SeedReport> {
  const signal = AbortSignal.timeout(60_000);
  return seedRoot({ root, disks: [disk.path], program, configuration: [], signal, ...more });
}

/** Paths of all files and links below a folder. */
async function filesIn(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length))
    .sort();
}

test("a seeded root has disk, program, configuration, the agent's unit and a drop-in for each runtime it has", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope, "containerd.service", "ssh.service");
  const set = { path: "/etc/nodewarm/set.yaml", text: "kind: ImageSet\n" };
  const report = await seed(root, { configuration: [set] });
  assert.deepEqual(report.runtimes, ["containerd.service"]);
  const [{ path = "", images } = {}] = report.disks;
  assert.equal(images, 1);
  assert.deepEqual(await readFile(join(root, path)), await readFile(disk.path));
  assert.equal((await lstat(join(root, path))).mode & 0o7777, 0o600);
  assert.equal((await lstat(join(root, "var/lib/nodewarm/disks"))).mode & 0o7777, 0o700);
  assert.deepEqual(await filesIn(root), [
    "/etc/nodewarm/set.yaml",
    "/etc/systemd/system/containerd.service.d/10-nodewarm.conf",
    "/etc/systemd/system/multi-user.target.wants/nodewarm.service",
    "/etc/systemd/system/nodewarm.service",
    "/opt/nodewarm/.cache/compile/x",
    "/opt/nodewarm/node",
    "/opt/nodewarm/nodewarm",
    "/opt/nodewarm/nodewarm.mjs",
    "/usr/lib/systemd/system/containerd.service",
    "/usr/lib/systemd/system/ssh.service",
    "/usr/local/bin/nodewarm",
    path,
  ]);
  assert.equal((await lstat(join(root, "opt/nodewarm/nodewarm"))).mode & 0o777, 0o755);
  assert.equal(await readlink(join(root, "usr/local/bin/nodewarm")), "/opt/nodewarm/nodewarm");
  const units = join(root, "etc/systemd/system");
  assert.equal(
    await readFile(join(units, "containerd.service.d/10-nodewarm.conf"), "utf8"),
    "[Service]\nExecStartPre=-/opt/nodewarm/nodewarm mount --all\n",
  );
  assert.match(await readFile(join(units, "multi-user.target.wants/nodewarm.service"), "utf8"), /^Type=notify$/m);
});

test("the agent's unit makes no mount namespace and does not stop with the runtime", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope);
  await seed(root, { disks: [] });
  const unit = await readFile(join(root, "etc/systemd/system/nodewarm.service"), "utf8");
  assert.match(unit, /^Before=kubelet\.service$/m);
  assert.match(unit, /^TimeoutStartSec=infinity$/m);
  assert.doesNotMatch(
    unit,
    /^(BindsTo|PartOf|Requires)=|network-online|^(Protect|Private|ReadOnly|Inaccessible|Mount)/m,
  );
});

test("seeding again changes nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope, "docker.service");
  const first = await seed(root);
  const before = await filesIn(root);
  assert.deepEqual(await seed(root), first);
  assert.deepEqual(await filesIn(root), before);
});

test("what was seeded goes again, and nothing else", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope, "docker.service");
  const before = await filesIn(root);
  await seed(root);
  const folder = await RootFolder.open(root);
  await folder.writeFile("/etc/nodewarm/mine.yaml", "mine");
  assert.deepEqual((await uninstallFiles(folder)).mounted, []);
  assert.deepEqual(await filesIn(root), ["/etc/nodewarm/mine.yaml", ...before]);
  assert.deepEqual((await uninstallFiles(folder)).removed, []);
});

test("a damaged disk is refused before anything is written", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope, "containerd.service");
  const damaged = join(await temporaryDirectory(scope, "damaged"), "disk.erofs");
  await copyFile(disk.path, damaged);
  const file = await open(damaged, "r+");
  await file.write(Buffer.from([1]), 0, 1, 8192);
  await file.close();
  const before = await filesIn(root);
  await assert.rejects(seed(root, { disks: [disk.path, damaged] }), {
    code: "unsound-disk",
    message: new RegExp(`${damaged}: .*build the disk again`),
  });
  assert.deepEqual(await filesIn(root), before);
});

test("two disks of one name are refused", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope);
  await assert.rejects(seed(root, { disks: [disk.path, disk.path] }), { code: "unsound-disk", message: /rename one/ });
});

test("a checkout is no program to install, and the way out is named", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope);
  await assert.rejects(seed(root, { program: import.meta.dirname }), { code: "no-program", message: /npm run bundle/ });
});

test("a folder for disks that others may write is taken from them", async () => {
  await using scope = new AsyncDisposableStack();
  const root = await rootWith(scope);
  await mkdir(join(root, "var/lib/nodewarm/disks"), { recursive: true });
  await chmod(join(root, "var/lib/nodewarm/disks"), 0o777);
  await seed(root);
  assert.equal((await lstat(join(root, "var/lib/nodewarm/disks"))).mode & 0o7777, 0o700);
});
