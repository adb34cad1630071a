import { readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { type DockerNode, openDockerNode } from "../../../src/runtime/docker/docker-node.ts";
import { type AtStep as AtEjectStep, ejectDisks } from "../../../src/runtime/docker/eject-disks.ts";
import { type AtStep, injectDisk } from "../../../src/runtime/docker/inject-disk.ts";
import { openDiskSource } from "../../../src/runtime/host/disk-source.ts";
import type { EjectOptions, EjectReport, InjectOptions, InjectReport } from "../../../src/runtime/runtime.ts";
import type { Scope } from "../temporary.ts";
import type { DockerDaemon } from "./docker-daemon.ts";

/** The node of a test's Docker, open for as long as the scope lasts. */
export async function openTestDocker(scope: Scope, { address }: Pick<DockerDaemon, "address">): Promise<DockerNode> {
  const node = await openDockerNode(address, AbortSignal.timeout(30_000));
  scope.defer(() => node.close());
  return node;
}

/** Injects a disk by its path, with options that tests rarely vary. */
export async function injectIntoDocker(
  node: DockerNode,
  path: string,
  options: Partial<InjectOptions> = {},
  atStep?: AtStep,
): Promise<InjectReport> {
  const open = await openDiskSource(path);
  try {
    const usual: InjectOptions = { handlers: "all", force: false, chains: true, signal: new AbortController().signal };
    return await injectDisk(node, open, { ...usual, ...options }, atStep);
  } finally {
    await open.disk.close();
  }
}

/** Ejects with options that tests rarely vary. */
export function ejectFromDocker(
  node: DockerNode,
  options: Partial<EjectOptions> = {},
  atStep?: AtEjectStep,
): Promise<EjectReport> {
  const usual = { wait: false, materialize: false, signal: new AbortController().signal };
  return ejectDisks(node, { ...usual, ...options }, atStep);
}

/** Every name in the folders of Docker's layers and images, and where links lead: the same before and after what leaves nothing. */
export async function listStore({ dataRoot }: Pick<DockerDaemon, "dataRoot">): Promise<string[]> {
  const names: string[] = [];
  for (const folder of ["overlay2", "image/overlay2/layerdb", "image/overlay2/imagedb", "nodewarm/disks"]) {
    const entries = await readdir(join(dataRoot, folder), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) names.push(`${folder}/${entry.name}`);
  }
  for (const name of await readdir(join(dataRoot, "overlay2"))) {
    if (name === "l") continue;
    for (const inner of await readdir(join(dataRoot, "overlay2", name))) {
      const target = await readlink(join(dataRoot, "overlay2", name, inner)).catch(() => "");
      names.push(`overlay2/${name}/${inner} ${target}`);
    }
  }
  for (const kind of ["layerdb/sha256", "layerdb/mounts", "imagedb/content/sha256", "imagedb/metadata/sha256"]) {
    const found = await readdir(join(dataRoot, "image/overlay2", kind)).catch(() => []);
    names.push(...found.map((name) => `${kind}/${name}`));
  }
  return names.sort();
}
