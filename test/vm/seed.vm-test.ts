import assert from "node:assert/strict";
import { cp, lstat, mkdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { nodeLayout } from "../../src/publish/seed/node-layout.ts";
import { run } from "../support/processes.ts";
import { makeSmallDisk } from "../support/small-disk.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { debianRoot, writableRoot } from "./debian-root.ts";
import { needsMachine as skip } from "./emulator.ts";
import { makeProgram } from "./node-image.ts";

type Report = { readonly disks: readonly { readonly path: string }[]; readonly files: readonly string[] };

const set = `apiVersion: nodewarm.io/v1alpha1
kind: ImageSet
metadata:
  name: base
spec:
  images:
  - ref: registry.example/app:v1
`;

/** What installed files are: kind, mode, owner, and bytes or target. */
async function installed(root: string, { disks, files }: Report): Promise<readonly string[]> {
  const paths = [...files, ...disks.map(({ path }) => path), `${nodeLayout.state}/state.json`].sort();
  return Promise.all(
    paths.map(async (path) => {
      const place = join(root, path);
      const { mode, uid, gid } = await lstat(place);
      const link = await readlink(place).catch(() => undefined);
      const bytes = link ?? (await readFile(place)).toString("base64");
      return `${path} ${mode.toString(8)} ${uid}:${gid} ${bytes}`;
    }),
  );
}

// mkosi and debootstrap give the root file system as a folder; Packer and kiwi run a script in it, where the program is unpacked first.
test("seeding from within a root file system gives the same as from outside", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const program = await makeProgram(scope);
  const disk = await makeSmallDisk(scope);
  const debian = await debianRoot();
  const configuration = join(await temporaryDirectory(scope, "configuration"), "base.yaml");
  await writeFile(configuration, set);
  const outside = await writableRoot(scope, debian);
  const seeded = ["seed", outside, disk.path, "--config", configuration, "--json"];
  const fromOutside: Report = JSON.parse(await run(join(program, "nodewarm"), seeded));

  const inside = await writableRoot(scope, debian);
  await mkdir(join(inside, "tmp/seed"));
  await cp(program, join(inside, "tmp/seed/nodewarm"), { recursive: true });
  await cp(disk.path, join(inside, "tmp/seed", disk.path.split("/").pop() ?? ""));
  await cp(configuration, join(inside, "tmp/seed/base.yaml"));
  const within = ["seed", "/", `/tmp/seed/${disk.path.split("/").pop()}`, "--config", "/tmp/seed/base.yaml", "--json"];
  const fromInside: Report = JSON.parse(await run("chroot", [inside, "/tmp/seed/nodewarm/nodewarm", ...within]));

  assert.deepEqual(await installed(inside, fromInside), await installed(outside, fromOutside));
  assert.ok(fromInside.files.includes("/etc/systemd/system/containerd.service.d/10-nodewarm.conf"));
  assert.ok(fromInside.files.includes("/etc/nodewarm/base.yaml"));
});
