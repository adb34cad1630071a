import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskIndex, IndexImage } from "../../../disk/reader/disk-index.ts";
import { whySkipped } from "./skipped-images.ts";

const kata = { name: "kata", snapshotter: "blockfile" };
const node = { namespace: "k8s.io", otherHandlers: [], sharingPolicy: "shared" };

function skipped(
  name: string,
  on: { readonly otherHandlers?: (typeof kata)[]; readonly sharingPolicy?: string; readonly blobs?: boolean } = {},
  sandboxes: readonly string[] = [],
): string | undefined {
  const { blobs = false, ...more } = on;
  // All that is looked at of an image.
  const image = { names: [name], target: { digest: "sha256:0" } } as unknown as IndexImage;
  const disk = { blobs } as DiskIndex;
  return whySkipped({ ...node, ...more }, disk, image, { handlers: "all" }, new Set(sandboxes))?.type;
}

test("the images of pod sandboxes are left to the node, by what runs and by how they are called", () => {
  for (const name of ["registry.k8s.io/pause:3.10", "docker.io/rancher/mirrored-pause:3.6", "localhost/pause@sha256:1"])
    assert.equal(skipped(name), "SandboxImage", name);
  assert.equal(skipped("example.com/sandbox:1", {}, ["example.com/sandbox:1"]), "SandboxImage");
  for (const name of ["example.com/app:1", "example.com/pauses:1", "example.com/unpause:2"])
    assert.equal(skipped(name), undefined, name);
});

test("a handler on another snapshotter needs blobs, and containerd must share them", () => {
  const otherHandlers = [kata];
  assert.equal(skipped("example.com/app:1", { otherHandlers }), "HandlerNeedsBlobs");
  assert.equal(skipped("example.com/app:1", { otherHandlers, blobs: true }), undefined);
  assert.equal(
    skipped("example.com/app:1", { otherHandlers, blobs: true, sharingPolicy: "isolated" }),
    "HandlerNeedsBlobs",
  );
});
