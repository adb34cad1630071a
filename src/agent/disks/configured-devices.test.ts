import assert from "node:assert/strict";
import { mkdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { configuredDevices, deviceNews, matcher } from "./configured-devices.ts";

test("patterns match as those of a shell do", () => {
  const character = fc.constantFrom("a", "b", ".", "*", "?", "/", "[");
  const text = fc.array(character, { maxLength: 12 }).map((all) => all.join(""));
  fc.assert(
    fc.property(text, text, (pattern, name) => {
      const parts = [...pattern].map((each) =>
        each === "*" ? "[^/]*" : each === "?" ? "[^/]" : `\\u{${each.codePointAt(0)?.toString(16)}}`,
      );
      assert.equal(matcher(pattern)(name), new RegExp(`^${parts.join("")}$`, "u").test(name));
    }),
    { numRuns: 2000 },
  );
});

test("no pattern takes long", () => {
  const startedMs = performance.now();
  assert.equal(matcher(`${"*a".repeat(200)}b`)("a".repeat(2000)), false);
  assert.ok(performance.now() - startedMs < 10_000);
});

describe("devices", { skip: needs("losetup") }, () => {
  test("only those that a pattern names are found, each once", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "device");
    const file = join(folder, "file");
    await writeFile(file, "");
    await truncate(file, 1 << 20);
    const before = deviceNews(["/dev/loop*"]);
    const path = await attachLoopDevice(scope, file);
    assert.notEqual(deviceNews(["/dev/loop*"]), before);
    const paths = async (...patterns: string[]) => (await configuredDevices(patterns)).map((device) => device.path);
    assert.deepEqual(await paths(), []);
    assert.deepEqual(await paths(path, path, `${path.slice(0, -1)}?`).then((all) => all.includes(path)), true);
    assert.deepEqual(await paths(path, `/dev/../dev/${path.slice(5)}`), [path]);
    assert.ok((await paths("/dev/loop*")).includes(path));
    assert.deepEqual(await paths("/dev/null", "/dev/none", file, "none", "*none*"), []);
  });

  test("names of udev lead to their devices", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "device");
    const file = join(folder, "file");
    await writeFile(file, "");
    await truncate(file, 1 << 20);
    const device = await attachLoopDevice(scope, file);
    // In a mount namespace of its own, for other tests have no such names.
    const script = `
      import { configuredDevices, deviceNews } from ${JSON.stringify(join(import.meta.dirname, "configured-devices.ts"))};
      import { symlinkSync } from "node:fs";
      const before = deviceNews(["virtio-*"]);
      symlinkSync(process.argv[1], "/dev/disk/by-id/virtio-nodewarm0");
      symlinkSync("/dev/none", "/dev/disk/by-id/virtio-nodewarm1");
      const after = deviceNews(["virtio-*"]);
      const found = await configuredDevices(["virtio-nodewarm*"]);
      console.log(JSON.stringify([before !== after, found.map(({ path }) => path)]));`;
    await mkdir(join(folder, "by-id"));
    const shell =
      'mkdir -p /dev/disk/by-id && mount --bind "$2/by-id" /dev/disk/by-id && exec "$0" --input-type=module -e "$3" "$1"';
    const hadNames = await run("sh", ["-c", "test -d /dev/disk/by-id && echo yes || true"]);
    if (hadNames === "") scope.defer(() => rm("/dev/disk", { recursive: true, force: true }));
    const output = await run("unshare", ["--mount", "sh", "-c", shell, process.execPath, device, folder, script]);
    assert.deepEqual(JSON.parse(output), [true, [device]]);
  });
});
