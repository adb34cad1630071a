import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { CriClient } from "../../../src/runtime/containerd/client/cri/cri-client.ts";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { addLayer, copyBetweenLayouts, type MadeImage, type MadeLayer, tagInLayout } from "../image-maker.ts";
import { run, waitUntil } from "../processes.ts";
import { file, tar } from "../tar-maker.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import type { ContainerdDaemon, ContainerdOptions } from "./containerd-daemon.ts";
import { connectCri } from "./cri-pod.ts";
import type { ContainerdRuntime } from "./fleet.ts";
import { openTestNode } from "./injection.ts";

/** A containerd with the images that pods need, and the ways to it that tests of injection use. */
export type InjectionNode = {
  readonly daemon: ContainerdDaemon;
  readonly node: ContainerdNode;
  readonly cri: CriClient;
};

export async function startInjectionNode(
  scope: Scope,
  runtime: ContainerdRuntime,
  options: ContainerdOptions = {},
): Promise<InjectionNode> {
  const daemon = await runtime.start(scope, options);
  await daemon.importRuntimeImages();
  return { daemon, node: await openTestNode(scope, daemon), cri: connectCri(scope, daemon) };
}

/** Makes containerd collect garbage, and waits until it is done. */
export async function collectGarbage(node: ContainerdNode): Promise<void> {
  const lease = `collect-${randomUUID()}`;
  await node.in.leases.create(lease);
  await node.in.leases.delete(lease, { sync: true });
}

/** Names of all committed snapshots of the default snapshotter, sorted. */
export async function committedSnapshots(node: ContainerdNode): Promise<string[]> {
  const all = await Array.fromAsync(node.snapshots.list());
  return all
    .filter(({ kind }) => kind === "committed")
    .map(({ name }) => name)
    .sort();
}

/** A layer with one file whose content is its name. */
export async function addNote(layout: string, name: string): Promise<MadeLayer> {
  return addLayer(layout, { tar: tar(file(name, `${name}\n`)) });
}

/** Gives the node an image of a layout as a pull would: blobs, snapshots and all its names. */
export async function importImage(
  scope: Scope,
  { daemon, cri }: InjectionNode,
  layout: string,
  name: string,
  image: MadeImage,
): Promise<void> {
  const folder = await temporaryDirectory(scope, "import");
  await copyBetweenLayouts(layout, folder, image.manifest);
  await tagInLayout(folder, image.manifest, undefined, { "io.containerd.image.name": name });
  const archive = join(folder, "image.tar");
  await run("tar", ["-C", folder, "-cf", archive, "oci-layout", "index.json", "blobs"]);
  await daemon.ctr("-n", "k8s.io", "images", "import", "--digests", "--snapshotter", daemon.snapshotter, archive);
  await waitUntil(`CRI knows ${name}`, async () => (await cri.images.status(name)) !== undefined);
}
