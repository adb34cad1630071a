import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { link, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { decodeDeviceNumber } from "./device-number.ts";
import { HostError } from "./host-error.ts";
import { detachLoopDevice, findLoopDevice, loopBackingFile, openLoopDevice } from "./loop-device.ts";

const sizeBytes = 1 << 20;

describe("loop devices", { skip: needs("losetup") }, () => {
  test("one shows the beginning of a file, read-only, and is gone when closed", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, sizeBytes + 12_345);
    const device = await openLoopDevice(path, sizeBytes);
    scope.defer(() => device.close());
    assert.equal(device.isNew, true);
    const attribute = async (name: string) =>
      (await readFile(`/sys/block/${basename(device.path)}/${name}`, "utf8")).trim();
    assert.equal(await attribute("size"), `${sizeBytes / 512}`);
    assert.equal(await attribute("ro"), "1");
    assert.equal(await attribute("loop/autoclear"), "1");
    const direct = await open(path, constants.O_RDONLY | constants.O_DIRECT).catch(() => undefined);
    if (direct !== undefined) assert.equal(await attribute("loop/dio"), "1");
    await direct?.close();
    assert.equal(await attribute("dev"), `${device.device.major}:${device.device.minor}`);
    assert.deepEqual(await readFile(device.path), (await readFile(path)).subarray(0, sizeBytes));
    await device.close();
    await device.close();
    assert.equal(await deviceOf(path), undefined);
  });

  test("a file under any of its names has one device", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, sizeBytes);
    const first = await openLoopDevice(path, sizeBytes);
    scope.defer(() => first.close());
    await link(path, `${path}.other`);
    const second = await openLoopDevice(`${path}.other`, sizeBytes);
    assert.deepEqual([second.path, second.isNew], [first.path, false]);
    await first.close();
    assert.equal(await deviceOf(path), second.path);
    await rm(path);
    const { dev, ino } = await stat(`${path}.other`, { bigint: true });
    assert.deepEqual(await loopBackingFile(second.path), { dev, ino });
    await second.close();
    assert.equal(await deviceOf(`${path}.other`), undefined);
  });

  test("a device that shows less of the file, or lets it be written, is not taken", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, 2 * sizeBytes);
    const short = await openLoopDevice(path, sizeBytes);
    scope.defer(() => short.close());
    const whole = await openLoopDevice(path, 2 * sizeBytes);
    scope.defer(() => whole.close());
    assert.notEqual(whole.path, short.path);
    const other = await makeFile(scope, sizeBytes);
    const writable = (await run("losetup", ["--find", "--show", other])).trim();
    scope.defer(() => detachLoopDevice(writable));
    const ours = await openLoopDevice(other, sizeBytes);
    scope.defer(() => ours.close());
    assert.notEqual(ours.path, writable);
  });

  test("a device of losetup is used as it is, and stays until it is detached", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, sizeBytes);
    const foreign = (await run("losetup", ["--find", "--show", "--read-only", path])).trim();
    scope.defer(() => detachLoopDevice(foreign));
    const device = await openLoopDevice(path, sizeBytes);
    assert.deepEqual([device.path, device.isNew], [foreign, false]);
    await device.close();
    assert.equal(await deviceOf(path), foreign);
    await detachLoopDevice(foreign);
    assert.equal(await deviceOf(path), undefined);
  });

  test("many at once each get a device of their own, and none is left over", async () => {
    await using scope = new AsyncDisposableStack();
    const paths = await Promise.all(Array.from({ length: 8 }, () => makeFile(scope, sizeBytes)));
    const devices = await Promise.all(paths.map((path) => openLoopDevice(path, sizeBytes)));
    assert.equal(new Set(devices.map(({ path }) => path)).size, paths.length);
    await Promise.all(devices.map((device) => device.close()));
    for (const path of paths) assert.equal(await deviceOf(path), undefined);
  });

  test("a killed program leaves no device", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, sizeBytes);
    const script = `
      import { openLoopDevice } from ${JSON.stringify(join(import.meta.dirname, "loop-device.ts"))};
      console.log((await openLoopDevice(process.argv[1], ${sizeBytes})).path);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exit = once(child, "exit");
    const [line] = await once(child.stdout, "data");
    assert.equal(await deviceOf(path), String(line).trim());
    child.kill("SIGKILL");
    await exit;
    assert.equal(await deviceOf(path), undefined);
  });

  test("what cannot lie behind a device is refused without leaving one", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "loop");
    await assert.rejects(openLoopDevice(join(folder, "none"), sizeBytes), { code: "ENOENT" });
    await assert.rejects(openLoopDevice(folder, sizeBytes), (error: unknown) => error instanceof HostError);
  });

  test("a file on a loop device's file system has its own numbers", async () => {
    await using scope = new AsyncDisposableStack();
    const path = await makeFile(scope, sizeBytes);
    const device = await attachLoopDevice(scope, path);
    const { rdev } = await stat(device);
    assert.equal(`/dev/loop${decodeDeviceNumber(rdev).minor}`, device);
  });
});

test("device numbers are taken apart as the kernel puts them together", () => {
  assert.deepEqual(decodeDeviceNumber(0x0801), { major: 8, minor: 1 });
  assert.deepEqual(decodeDeviceNumber(0xfffffff_ffffn & 0xffff_ffffn), { major: 0xfff, minor: 0xf_ffff });
  assert.deepEqual(decodeDeviceNumber(0x0010_0703n), { major: 7, minor: 0x103 });
});

async function makeFile(scope: Scope, size: number): Promise<string> {
  const path = join(await temporaryDirectory(scope, "loop"), "file");
  await writeFile(path, "the beginning");
  await truncate(path, size);
  return path;
}

/** The path of the loop device over a file, if there is one. */
async function deviceOf(path: string): Promise<string | undefined> {
  const device = await findLoopDevice(await stat(path, { bigint: true }), 0);
  await device?.close();
  return device?.path;
}
