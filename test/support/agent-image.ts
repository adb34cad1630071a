import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Descriptor, Digest } from "../../src/oci/descriptor.ts";
import type { CriClient } from "../../src/runtime/containerd/client/cri/cri-client.ts";
import { root } from "./cli.ts";
import { type MadeImage, makeImage, tagInLayout } from "./image-maker.ts";
import { run, waitUntil } from "./processes.ts";
import type { ContainerdDaemon } from "./runtimes/containerd-daemon.ts";
import { file, tar } from "./tar-maker.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

export type ImageArchitecture = "amd64" | "arm64";

/** What `npm run image` has made. */
export type AgentImage = {
  readonly out: string;
  readonly layout: string;
  readonly version: string;
  readonly index: Descriptor;
  readonly images: Readonly<Record<ImageArchitecture, Descriptor>>;
  /** Of amd64; that of arm64 is the same. */
  readonly entrypoint: readonly string[];
  /** A folder `layout` in `folder` with a small image, tagged `small`, to build a disk of. */
  smallLayout(folder: string, architecture: ImageArchitecture): Promise<MadeImage>;
};

export type MakeOptions = {
  /** Folder of the sources: that of `copyCheckout`. Default: this checkout. */
  readonly checkout?: string;
  readonly umask?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** Makes the image as a user does; it is gone when the scope ends. The first time, its parts are fetched. */
export async function makeAgentImage(scope: Scope, options: MakeOptions = {}): Promise<AgentImage> {
  const out = join(await temporaryDirectory(scope, "image"), "out");
  const script = `umask ${options.umask ?? "022"}; exec "$0" "$@"`;
  const words = [process.execPath, join(options.checkout ?? root, "scripts/image.ts"), "--out", out];
  const env = { SOURCE_DATE_EPOCH: "", ...options.env };
  await run("sh", ["-euc", script, ...words], { cwd: options.cwd ?? root, env, timeoutMs: 900_000 });
  const layout = join(out, "layout");
  const { manifests } = JSON.parse(await readFile(join(layout, "index.json"), "utf8")) as { manifests: Descriptor[] };
  const [index] = manifests;
  if (index === undefined) throw new Error(`${layout} names no image`);
  const of = <Document>(digest: Digest) => blobOf<Document>({ layout }, digest);
  const list = (await of<{ manifests: Descriptor[] }>(index.digest)).manifests;
  const [amd64, arm64] = ["amd64", "arm64"].map((name) => list.find(({ platform }) => platform?.architecture === name));
  if (amd64 === undefined || arm64 === undefined) throw new Error("the image lacks an architecture");
  const { config } = await of<{ config: Descriptor }>(amd64.digest);
  const { Entrypoint } = (await of<{ config: { Entrypoint: string[] } }>(config.digest)).config;
  const version = index.annotations?.["org.opencontainers.image.ref.name"] ?? "";
  return { out, layout, version, index, images: { amd64, arm64 }, entrypoint: Entrypoint, smallLayout };
}

/** Has a containerd take the image from an archive, as a node without a registry does; its name there, once CRI knows it. */
export async function importAgentImage(
  scope: Scope,
  { layout, version }: AgentImage,
  daemon: ContainerdDaemon,
  cri: CriClient,
): Promise<string> {
  const repository = "nodewarm.test/nodewarm";
  const archive = join(await temporaryDirectory(scope, "image"), "image.tar");
  await run("tar", ["-C", layout, "-cf", archive, "."]);
  const words = ["images", "import", "--snapshotter", daemon.snapshotter, "--base-name", repository];
  await daemon.ctr("-n", "k8s.io", ...words, archive);
  const name = `${repository}:${version}`;
  await waitUntil("CRI knows the image", async () => (await cri.images.status(name)) !== undefined);
  return name;
}

/** What the image is made of, from a checkout (default: this one), in a folder of its own: nobody changes it meanwhile. */
export async function copyCheckout(scope: Scope, from = root): Promise<string> {
  const folder = await temporaryDirectory(scope, "checkout");
  const { dependencies } = JSON.parse(await readFile(join(from, "package.json"), "utf8"));
  const packages = [...Object.keys(dependencies), "@koromix", "esbuild", "@esbuild"].map(
    (name) => `node_modules/${name}`,
  );
  const files = [
    "package.json",
    "package-lock.json",
    ".node-version",
    "LICENSE",
    "bin",
    "scripts",
    "src",
    "test/support",
  ];
  await run("cp", ["-a", "--parents", ...files, ...packages, folder], { cwd: from });
  return folder;
}

/** A JSON document of the layout. */
export async function blobOf<Document>({ layout }: Pick<AgentImage, "layout">, digest: Digest): Promise<Document> {
  return JSON.parse(await readFile(join(layout, "blobs", digest.replace(":", "/")), "utf8"));
}

/** The files of an image in a folder. */
export async function unpackImage(scope: Scope, image: AgentImage, architecture: ImageArchitecture): Promise<string> {
  const folder = await temporaryDirectory(scope, "root");
  const { layers } = await blobOf<{ layers: Descriptor[] }>(image, image.images[architecture].digest);
  for (const { digest } of layers) {
    await run("tar", ["-xzpf", join(image.layout, "blobs", digest.replace(":", "/")), "-C", folder]);
  }
  return folder;
}

async function smallLayout(folder: string, architecture: ImageArchitecture): Promise<MadeImage> {
  const layout = join(folder, "layout");
  await mkdir(layout);
  const layers = ["a", "b"].map((name) => ({ tar: tar(file(name, name.repeat(100_000))) }));
  const image = await makeImage(layout, { layers, platform: { os: "linux", architecture } });
  await tagInLayout(layout, image.manifest, "small");
  return image;
}
