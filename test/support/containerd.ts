import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Descriptor, type Digest, digestHex } from "../../src/oci/descriptor.ts";
import { sha256 } from "./image-maker.ts";
import { run } from "./processes.ts";
import { startContainerdDaemon } from "./runtimes/containerd-daemon.ts";
import { programVersion } from "./runtimes/programs.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** A containerd of one's own: root, state, socket and configuration in a temporary folder. */
export type Containerd = {
  readonly address: string;
  readonly directory: string;
  /** Runs `ctr` against it; its stdout. Throws with its words when it fails. */
  ctr(...args: readonly string[]): Promise<string>;
  /** What the daemon wrote. */
  log(): Promise<string>;
};

/** Debian's containerd as the machine has it. */
export async function startDebianContainerd(scope: Scope): Promise<Containerd> {
  return startContainerdDaemon(scope, await programVersion("/usr/bin/containerd"), "/usr/bin");
}

export type ImportedImage = {
  readonly name: string;
  readonly manifest: Descriptor;
};

/**
 * Imports images of an OCI layout under their names and unpacks them with the overlayfs snapshotter. Fails when containerd
 * refuses one; those before it are unpacked then.
 */
export async function importImages(
  containerd: Containerd,
  layoutDirectory: string,
  images: readonly ImportedImage[],
): Promise<void> {
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: images.map(({ name, manifest }) => ({ ...manifest, annotations: { "io.containerd.image.name": name } })),
  };
  const blobs = new Set<Digest>();
  for (const { manifest } of images) {
    blobs.add(manifest.digest);
    const document = JSON.parse(await readFile(join(layoutDirectory, blobPath(manifest.digest)), "utf8"));
    blobs.add(document.config.digest);
    for (const layer of document.layers) blobs.add(layer.digest);
  }
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "imp");
  await writeFile(join(work, "index.json"), JSON.stringify(index));
  await writeFile(join(work, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(work, "list"), [...blobs].map((digest) => `${blobPath(digest)}\n`).join(""));
  const archive = join(work, "a.tar");
  const parts = ["-C", work, "oci-layout", "index.json", "-C", layoutDirectory, "-T", join(work, "list")];
  await run("tar", ["-cf", archive, ...parts]);
  await containerd.ctr("images", "import", "--snapshotter", "overlayfs", archive);
}

/** The folders into which containerd unpacked the layers, from the bottom, as its overlayfs snapshotter leaves them. */
export async function layerDirectories(containerd: Containerd, diffIDs: readonly Digest[]): Promise<string[]> {
  const top = chainID(diffIDs);
  const key = `view-${digestHex(top)}`;
  const snapshots = ["snapshots", "--snapshotter", "overlayfs"];
  const mount = await containerd.ctr(...snapshots, "view", "--target", "/target", key, top);
  // containerd may have collected it by itself: nothing refers to it.
  await containerd.ctr(...snapshots, "rm", key).catch(() => {});
  const lower = /lowerdir=([^,\s]+)/.exec(mount)?.[1]?.split(":").reverse();
  const single = /(?:mount -t bind|--bind|bind) (\S+\/fs) /.exec(mount)?.[1];
  const directories = lower ?? (single === undefined ? [] : [single]);
  if (directories.length !== diffIDs.length) {
    throw new Error(`${directories.length} folders for ${diffIDs.length} layers in: ${mount}`);
  }
  return directories.map((path) => (path.startsWith("/") ? path : join(dirname(containerd.directory), path)));
}

/** OCI image spec, config, "Layer ChainID". */
export function chainID(diffIDs: readonly Digest[]): Digest {
  const [bottom, ...above] = diffIDs;
  if (bottom === undefined) throw new Error("no layers");
  return above.reduce<Digest>((chain, diffID) => sha256(`${chain} ${diffID}`), bottom);
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}
