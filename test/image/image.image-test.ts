import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readElf } from "../../scripts/image/elf.ts";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { type AgentImage, blobOf, copyCheckout, makeAgentImage, unpackImage } from "../support/agent-image.ts";
import { root } from "../support/cli.ts";
import { sha256 } from "../support/image-maker.ts";
import { needs } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { checkSpdx } from "../support/spdx.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const skip = needs("dpkg-deb", "qemu-aarch64-static");
const scope = new AsyncDisposableStack();
let checkout: string;
let image: AgentImage;

before(async () => {
  if (skip) return;
  checkout = await copyCheckout(scope);
  image = await makeAgentImage(scope, { checkout });
});
after(() => scope.disposeAsync());

test("the same sources give the same bytes, whoever makes them, where and when", { skip }, async () => {
  const elsewhere = await copyCheckout(scope, checkout);
  const env = { TZ: "Asia/Tokyo", LC_ALL: "C.UTF-8" };
  const again = await makeAgentImage(scope, { checkout: elsewhere, umask: "077", cwd: "/", env });
  assert.notEqual(again.out, image.out);
  await run("diff", ["-r", image.out, again.out]);
  const { index } = again;
  const other = await makeAgentImage(scope, { checkout, env: { SOURCE_DATE_EPOCH: "1000000000" } });
  assert.notEqual(other.index.digest, index.digest);
  const manifest = await blobOf<{ config: Descriptor }>(other, other.images.amd64.digest);
  const { created } = await blobOf<{ created: string }>(other, manifest.config.digest);
  assert.equal(created, "2001-09-09T01:46:40Z");
});

test("it is an OCI layout with an index of both architectures; each digest and size is right", { skip }, async () => {
  const { manifests } = await blobOf<{ manifests: Descriptor[] }>(image, image.index.digest);
  assert.deepEqual(
    manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`),
    ["linux/amd64", "linux/arm64"],
  );
  let blobs = 1;
  for (const { digest } of manifests) {
    const { config, layers } = await blobOf<{ config: Descriptor; layers: Descriptor[] }>(image, digest);
    for (const descriptor of [config, ...layers]) {
      const bytes = await readFile(join(image.layout, "blobs", descriptor.digest.replace(":", "/")));
      assert.equal(sha256(bytes), descriptor.digest);
      assert.equal(bytes.length, descriptor.size);
    }
    assert.equal(layers.length, 3);
    blobs += 2 + layers.length;
  }
  const files = (await run("find", [join(image.layout, "blobs"), "-type", "f"])).trim().split("\n");
  assert.equal(files.length, blobs);
});

for (const [architecture, machine, triplet] of [
  ["amd64", 62, "x86_64-linux-gnu"],
  ["arm64", 183, "aarch64-linux-gnu"],
] as const) {
  test(`${architecture}: no shell, no mount, nothing but Node, the program and what they load`, { skip }, async () => {
    const folder = await unpackImage(scope, image, architecture);
    const files = (await run("find", [folder, "-type", "f", "-printf", "%P\n"])).trim().split("\n");
    const programs: string[] = [];
    for (const path of files) {
      const bytes = await readFile(join(folder, path));
      if (bytes.toString("latin1", 0, 4) !== "\x7fELF") continue;
      assert.equal(readElf(bytes).machine, machine, path);
      programs.push(path);
    }
    const libraries = ["libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libstdc++.so.6"];
    const unexpected = programs.filter((path) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const isLibrary = path.includes(`lib/${triplet}/`) && (libraries.includes(name) || name.startsWith("ld-linux-"));
      return !isLibrary && path !== "usr/bin/node" && path !== "usr/lib/nodewarm/koffi.node";
    });
    assert.deepEqual(unexpected, []);
    const inPath = files.filter((path) => /^(usr\/)?(local\/)?s?bin\//.test(path)).sort();
    assert.deepEqual(inPath, ["usr/bin/node"]);
    const links = (await run("find", [folder, "-type", "l", "-printf", "%P -> %l\n"])).trim().split("\n");
    assert.ok(links.includes("usr/bin/nodewarm -> ../lib/nodewarm/nodewarm.mjs"), links.join());
    assert.equal(links.length, 3);
    const marked = (await run("find", [folder, "-type", "f", "-perm", "/6000"])).trim();
    assert.equal(marked, "");
  });

  test(`${architecture}: the licence of each part is in it, with the texts that it names`, { skip }, async () => {
    const folder = await unpackImage(scope, image, architecture);
    const text = (path: string) => readFile(join(folder, path), "utf8");
    for (const name of ["base-files", "gcc-12-base", "libc6", "libgcc-s1", "libstdc++6"]) {
      const copyright = await text(`usr/share/doc/${name}/copyright`);
      assert.match(copyright, /copyright/i);
      for (const [path] of copyright.matchAll(/\/usr\/share\/common-licenses\/[\w.-]*\w/g)) {
        assert.ok((await text(path.slice(1))).length > 1000, path);
      }
      assert.match(await text(`var/lib/dpkg/status.d/${name}`), new RegExp(`^Architecture: ${architecture}$`, "m"));
    }
    assert.match(await text("usr/share/doc/nodejs/LICENSE"), /Node\.js is licensed for use/);
    assert.match(await text("usr/share/doc/nodewarm/LICENSE"), /Apache License/);
    assert.match(await text("usr/share/doc/nodewarm/THIRD-PARTY-LICENSES"), /^koffi \d/m);
    assert.match(await text("etc/os-release"), /^VERSION_CODENAME=bookworm$/m);
  });
}

test("the bill of materials is an SPDX document of this image", { skip }, async () => {
  const document = checkSpdx(JSON.parse(await readFile(join(image.out, "nodewarm.spdx.json"), "utf8")));
  const hashOf = (name: string) => document.packages.find((each) => each.name === name)?.checksums[0]?.checksumValue;
  assert.equal(`sha256:${hashOf("nodewarm")}`, image.index.digest);
  assert.equal(`sha256:${hashOf("nodewarm (arm64)")}`, image.images.arm64.digest);
  const names = document.packages.map(({ name }) => name);
  const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) assert.ok(names.includes(name), name);
});

test("arm64 runs, emulated: the program, its native library and its threads", { skip }, async () => {
  const folder = await unpackImage(scope, image, "arm64");
  const work = await temporaryDirectory(scope, "arm");
  const { manifest } = await image.smallLayout(work, "arm64");
  assert.match(manifest.digest, /^sha256:/);
  // Nothing of this machine but the emulator: another root.
  const emulate = (...args: readonly string[]) => {
    const script = `cp "$(command -v qemu-aarch64-static)" "$0/qemu"; mkdir -p "$0/proc" "$0/data"
      mount -t proc proc "$0/proc"; mount --bind "$1" "$0/data"; root=$0; shift; exec chroot "$root" /qemu "$@"`;
    return run("unshare", ["--mount", "sh", "-euc", script, folder, work, ...image.entrypoint, ...args], {
      timeoutMs: 600_000,
    });
  };
  assert.match(await emulate("--version"), /^nodewarm \d/);
  const words = ["build", "oci:/data/layout:small", "-o", "/data/disk.erofs", "--platform", "linux/arm64", "--json"];
  assert.match(await emulate(...words), /"id": "[0-9a-f]{64}"/);
  await run(process.execPath, [join(root, "src/cli/main.ts"), "verify", join(work, "disk.erofs")]);
  // Loads koffi, and fails for the reason that the program gives.
  await assert.rejects(emulate("inject", "/data/disk.erofs", "--address", "/none"), /\/none/);
});
