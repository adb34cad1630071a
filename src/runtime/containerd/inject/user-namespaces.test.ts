import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../../../test/support/privileges.ts";
import { run } from "../../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { readKernel } from "../../host/kernel.ts";
import { openMountNamespace } from "../../host/mount-namespace.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { refuseUnmappable, userNamespaceConditions } from "./user-namespaces.ts";

const skip = needs("unshare");

type Node = Pick<ContainerdNode, "version" | "mountNamespace" | "snapshotsFolder">;

/** A folder whose mounts cannot be ID-mapped, and a node whose own can. */
async function makeNode(scope: Scope): Promise<{ unmappable: string; node: (version: string) => Node }> {
  const folder = await temporaryDirectory(scope, "unmappable");
  const [unmappable, snapshotsFolder] = [join(folder, "disk"), join(folder, "snapshots")];
  for (const path of [unmappable, snapshotsFolder]) await mkdir(path);
  await run("mount", ["-t", "proc", "proc", unmappable]);
  scope.defer(async () => void (await run("umount", [unmappable])));
  const mountNamespace = await openMountNamespace(process.pid);
  scope.defer(() => mountNamespace.close());
  return { unmappable, node: (version) => ({ version, mountNamespace, snapshotsFolder }) };
}

test("a disk whose mounts cannot be ID-mapped is refused where containerd maps all of them", {
  skip,
}, async (context) => {
  if ((await readKernel()).version.major < 6) return context.skip("needs Linux 6");
  await using scope = new AsyncDisposableStack();
  const { unmappable, node } = await makeNode(scope);
  for (const version of ["2.3.0", "2.4.2", "v3.0.1"])
    await assert.rejects(refuseUnmappable(node(version), unmappable), (error) => {
      assert.ok(isRuntimeError(error, "failed-precondition"));
      assert.match(error.message, /cannot be ID-mapped .*no pod with a user namespace would start; use a kernel/);
      return true;
    });
});

test("it is taken where containerd copies or fails instead, and where nothing on the node can be mapped", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { unmappable, node } = await makeNode(scope);
  for (const version of ["1.6.20", "1.7.24", "2.1.9"]) await refuseUnmappable(node(version), unmappable);
  await refuseUnmappable({ ...node("2.4.2"), snapshotsFolder: unmappable }, unmappable);
});

test("versions that can neither copy nor map say so of pods, which are CRI's alone", () => {
  const types = (version: string, namespace = "k8s.io") =>
    userNamespaceConditions({ version, namespace }).map(({ type }) => type);
  assert.deepEqual(types("2.1.9"), ["UserNamespacesUnsupported"]);
  for (const version of ["1.6.20", "1.7.24", "2.3.0", "2.4.2"]) assert.deepEqual(types(version), []);
  assert.deepEqual(types("2.1.9", "moby"), []);
});
