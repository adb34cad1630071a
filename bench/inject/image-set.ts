import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostPlatform } from "../../src/oci/platform.ts";
import { buildTestDisk } from "../../test/support/disk-maker.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage, tagInLayout } from "../../test/support/image-maker.ts";
import { imageOfLayout } from "../../test/support/layout-image.ts";
import { findProgram } from "../../test/support/privileges.ts";
import { directory, file, symbolicLink, tar } from "../../test/support/tar-maker.ts";
import { run } from "../suite/command.ts";
import { generatedTar } from "../suite/contents.ts";

/** How many images, of how many distinct layers, of how many bytes. */
export type SetShape = { readonly images: number; readonly layers: number; readonly bytes: number };

/** A made set: what a registry, an archive and a disk need to hold it. */
export type InjectSet = SetShape & {
  readonly directory: string;
  readonly layout: string;
  readonly disk: string;
  readonly diskBytes: number;
  /** Docker and OCI form, for `ctr image import`. */
  readonly archive: string;
  /** Storage of a registry that has them, once `pushSet` has run. */
  readonly registry: string;
  readonly named: readonly NamedImage[];
};

export type NamedImage = { readonly name: string; readonly manifest: MadeImage["manifest"]; readonly layers: number };

/** Files in each layer; each holds the same share, so that the first of all layers are a tenth of the bytes. */
export const filesPerLayer = 10;

const version = 1;

/** The set in the cache folder `base`, made when it is not there. All images stand on one layer with busybox. */
export async function injectSet(base: string, shape: SetShape): Promise<InjectSet> {
  const folder = join(base, `inject-${version}-${shape.images}-${shape.layers}-${Math.round(shape.bytes / 1e6)}`);
  if (!existsSync(join(folder, "set.json"))) {
    await rm(folder, { recursive: true, force: true });
    const partial = `${folder}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await writeFile(join(partial, "set.json"), JSON.stringify(await make(partial, shape)));
    await rename(partial, folder);
  }
  const named: readonly NamedImage[] = JSON.parse(await readFile(join(folder, "set.json"), "utf8"));
  const disk = join(folder, "disk.erofs");
  return {
    ...shape,
    directory: folder,
    layout: join(folder, "layout"),
    disk,
    diskBytes: (await stat(disk)).size,
    archive: join(folder, "images.tar"),
    registry: join(folder, "registry"),
    named,
  };
}

async function make(folder: string, shape: SetShape): Promise<NamedImage[]> {
  process.stderr.write(`bench: making ${shape.images} images of ${shape.layers} layers, ${shape.bytes / 1e6} MB\n`);
  const layout = join(folder, "layout");
  await mkdir(layout);
  const base = await busyboxLayer(layout);
  const stacks: MadeLayer[][] = Array.from({ length: shape.images }, () => [base]);
  const fileBytes = Math.floor(shape.bytes / (shape.layers - 1) / filesPerLayer);
  for (let number = 1; number < shape.layers; number++) {
    const path = join(folder, "layer.tar");
    const contents = Array.from({ length: filesPerLayer }, (_, index) => ({
      name: `data/${number}/${index}`,
      content: { kind: "random" as const, seed: `inject-${number}-${index}`, sizeBytes: fileBytes },
    }));
    await writeFile(path, generatedTar(contents));
    stacks[number % shape.images]?.push(await addLayer(layout, { tar: path, compression: "gzip", level: 1 }));
    await rm(path);
  }
  const named: NamedImage[] = [];
  const docker: unknown[] = [];
  for (const [index, layers] of stacks.entries()) {
    const name = `bench.example/inject/image-${index}:v1`;
    const runs = { Cmd: ["/bin/echo", `image ${index} runs`], Env: ["PATH=/bin"] };
    const image = await makeImage(layout, { layers, platform: hostPlatform(), run: runs });
    await tagInLayout(layout, image.manifest, undefined, { "io.containerd.image.name": name });
    named.push({ name, manifest: image.manifest, layers: layers.length });
    docker.push({
      Config: archivePath(image.config.digest),
      RepoTags: [name],
      Layers: layers.map(({ descriptor }) => archivePath(descriptor.digest)),
    });
  }
  await writeFile(join(layout, "manifest.json"), JSON.stringify(docker));
  const parts = ["oci-layout", "index.json", "manifest.json", "blobs"];
  await run("tar", ["-C", layout, "-cf", join(folder, "images.tar"), ...parts]);
  const images = await Promise.all(named.map(({ name, manifest }) => imageOfLayout(layout, manifest, [name])));
  const line = `bench-${shape.images}-${shape.layers}-${shape.bytes}`;
  await buildTestDisk(folder, layout, [], { images, platform: hostPlatform(), line, sequence: 1 });
  return named;
}

async function busyboxLayer(layout: string): Promise<MadeLayer> {
  const busybox = findProgram("busybox");
  if (busybox === undefined) throw new Error("there is no busybox; npm installs it as root (scripts/setup.sh)");
  const tools = ["sh", "cat", "echo", "true", "sleep", "wc"];
  return addLayer(layout, {
    tar: tar(
      ...["bin", "dev", "etc", "proc", "sys", "tmp"].map((name) => directory(name)),
      file("bin/busybox", await readFile(busybox), { mode: 0o755 }),
      ...tools.map((name) => symbolicLink(`bin/${name}`, "busybox")),
      file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
    ),
  });
}

function archivePath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}
