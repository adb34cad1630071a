import assert from "node:assert/strict";
import { mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { needsRoot } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readMountTable } from "../host/mount-table.ts";
import { checkPaths } from "./path-checks.ts";

/** A machine's root in a folder, as that of another mount namespace is reached. */
async function machine(scope: Scope, { isOwn = false } = {}) {
  const root = await temporaryDirectory(scope, "root");
  const folder = (name: string) => `/ctd/io.containerd.${name}`;
  for (const path of ["/run", folder("snapshotter/snapshots"), folder("content/blobs")])
    await mkdir(`${root}${path}`, { recursive: true });
  // Paths of mounts are those of the table, so there the root counts.
  const at = (path: string) => (isOwn ? join(root, path) : path);
  return {
    root,
    node: {
      snapshotsFolder: at(folder("snapshotter/snapshots")),
      blobsFolder: at(folder("content/blobs")),
      mountNamespace: { isOwn },
      local: (path: string) => (path.startsWith(root) ? path : `${root}${path}`),
    },
  };
}

async function mount(scope: Scope, args: readonly string[], target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  await run("mount", [...args, target]);
  scope.defer(async () => void (await run("umount", [target])));
}

describe("the check of paths", { skip: needsRoot }, () => {
  it("is content with folders that can be written, and with those that containerd has yet to make", async () => {
    await using scope = new AsyncDisposableStack();
    const { root, node } = await machine(scope);
    assert.equal((await checkPaths(node, await readMountTable("self"))).result, "ok");
    await rm(`${root}/ctd/io.containerd.content`, { recursive: true });
    assert.equal((await checkPaths(node, await readMountTable("self"))).result, "ok");
  });

  it("names folders that are not there", async () => {
    await using scope = new AsyncDisposableStack();
    const { root, node } = await machine(scope);
    await rm(`${root}/ctd`, { recursive: true });
    const finding = await checkPaths(node, await readMountTable("self"));
    assert.equal(finding.result, "failure");
    assert.match(finding.message, /the snapshots in \/ctd.*there is no \/ctd$/);
    assert.match(finding.wayOut ?? "", /hostPID/);
  });

  it("names links on the way into another mount namespace", async () => {
    await using scope = new AsyncDisposableStack();
    const { root, node } = await machine(scope);
    await run("mv", [`${root}/ctd`, `${root}/elsewhere`]);
    await symlink("/elsewhere", `${root}/ctd`);
    const finding = await checkPaths(node, await readMountTable("self"));
    assert.equal(finding.result, "failure");
    assert.match(finding.message, /\/ctd is a link/);
    assert.match(finding.wayOut ?? "", /root_path/);
  });

  it("names what is read-only", async () => {
    await using scope = new AsyncDisposableStack();
    const { root, node } = await machine(scope, { isOwn: true });
    await mount(scope, ["-t", "tmpfs", "-o", "ro", "tmpfs"], `${root}/ctd/io.containerd.content`);
    const finding = await checkPaths(node, await readMountTable("self"));
    assert.equal(finding.result, "failure");
    assert.match(finding.message, /the content store in .* cannot be written \(EROFS\)/);
  });

  it("names a mount that follows no links, and the parts of a content store on several mounts", async () => {
    await using scope = new AsyncDisposableStack();
    const { root, node } = await machine(scope, { isOwn: true });
    await mount(scope, ["-t", "tmpfs", "tmpfs"], `${root}/ctd/io.containerd.content/ingest`);
    const parts = await checkPaths(node, await readMountTable("self"));
    assert.equal(parts.result, "failure");
    assert.match(parts.message, /content\/ingest is a mount of its own/);
    await mount(scope, ["-i", "-t", "tmpfs", "-o", "nosymfollow", "tmpfs"], `${root}/ctd/io.containerd.snapshotter`);
    const links = await checkPaths(node, await readMountTable("self"));
    assert.equal(links.result, "failure");
    assert.match(links.wayOut ?? "", /without nosymfollow/);
  });
});
