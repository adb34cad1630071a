import { stat, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { formatBytes, formatSeconds } from "../src/cli/format.ts";
import { pushToRegistry } from "../test/support/image-maker.ts";
import { mountErofs } from "../test/support/mount.ts";
import { findProgram, needs, needsRoot } from "../test/support/privileges.ts";
import { run } from "../test/support/processes.ts";
import { startRegistry } from "../test/support/registry.ts";
import { type Scope, temporaryDirectory } from "../test/support/temporary.ts";
import { type DemoImages, demoImages } from "./demo/images.ts";
import { compare, injectAll, privateContainerd, pullAll, runInjected } from "./demo/injection.ts";
import { dim, heading, runHere, say, showCommand, table } from "./demo/screen.ts";

/**
 * Shows Nodewarm with real parts: a registry on loopback with images of Debian packages, a disk built from it, mounted by the kernel, and
 * the same images pulled into one containerd and injected into another. Leaves nothing behind but its cache.
 */

const nodewarm = join(import.meta.dirname, "../bin/nodewarm");

/** The few fields that the demo reads of what `inspect --json` prints. */
type Inspected = { readonly images: readonly { readonly names: readonly string[]; readonly tree: string }[] };

async function demo(scope: Scope, signal: AbortSignal): Promise<void> {
  const work = await temporaryDirectory(scope, "demo");
  process.chdir(work);

  heading("1. A registry with real images");
  const images = await demoImages((text) => say(dim(text)), signal);
  signal.throwIfAborted();
  const published = await publish(scope, images);
  const { wanted } = published;
  describeImages(images);

  heading("2. One disk with all of them");
  say("No root, no loop device, no unpacking to a folder: the layers stream from their source into one file.\n");
  if (wanted.includes("demo.yaml")) {
    showCommand(["cat", "demo.yaml"]);
    await runHere("cat", ["demo.yaml"], signal);
    console.log();
  }
  const build = ["build", ...wanted, "-o", "demo.erofs"];
  const seconds = await command(build, signal);

  heading("3. What is on it");
  await command(["inspect", "demo.erofs"], signal);

  heading("4. The kernel mounts it");
  await showMounted(scope, signal);

  heading("5. Every byte can be checked, without root and without mounting");
  await command(["verify", "demo.erofs"], signal);

  heading("6. The next disk takes what has not changed from this one");
  const rebuild = await command([...build, "--from", "demo.erofs", "--progress", "none"], signal);

  heading("What it cost");
  await showCost(images, seconds, rebuild);

  heading("7. The images on a node: pulled, and injected");
  await showInjection(scope, images, published, signal);
}

async function showInjection(
  scope: Scope,
  images: DemoImages,
  published: Published,
  signal: AbortSignal,
): Promise<void> {
  const reason = needs("containerd", "ctr", "runc", "busybox");
  if (reason !== false || published.registry === undefined) {
    say(
      `left out: containerd ${reason || "needs the registry"}. As root the demo pulls the images and injects the disk.`,
    );
    return;
  }
  const { host } = published.registry;
  const seen = new Set<string>();
  const wanted = images.images.map(({ name, image }) => {
    const layers = image.layers.filter(({ diffID }) => !seen.has(diffID));
    for (const { diffID } of layers) seen.add(diffID);
    return { reference: `${host}/${name}`, bytes: sum(layers.map(({ descriptor }) => descriptor.size)) };
  });
  say(dim("making the program as it is released"));
  const bundle = resolve("bundle");
  await run(process.execPath, [join(import.meta.dirname, "bundle.ts"), "--out", bundle]);
  signal.throwIfAborted();
  const pulled = await pullAll(await privateContainerd(scope), wanted, signal);
  await published.registry.stop();
  console.log();
  const node = await privateContainerd(scope);
  const injected = await injectAll(scope, node, join(bundle, "nodewarm"), "demo.erofs", signal);
  await runInjected(node, `${host}/demo/api:1`);
  compare(pulled, injected);
}

async function command(args: readonly string[], signal: AbortSignal): Promise<number> {
  showCommand(["nodewarm", ...args]);
  const seconds = await runHere(nodewarm, args, signal);
  console.log();
  return seconds;
}

/** The arguments of `build` that name the images, and the registry that has them. */
type Published = {
  readonly wanted: readonly string[];
  readonly registry: { readonly host: string; stop(): Promise<void> } | undefined;
};

/**
 * Pushes the images to a registry of our own and lists them in `demo.yaml`; without the registry's program they are read
 * from their folder.
 */
async function publish(scope: Scope, { layout, images }: DemoImages): Promise<Published> {
  if (findProgram("docker-registry") === undefined) {
    say("left out: the registry (installing docker-registry takes root). The images are read from an OCI layout.\n");
    const wanted = [...images.map(({ name }) => `oci:${layout}:${name}`), "--line", "demo"];
    return { wanted, registry: undefined };
  }
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  for (const { name, image } of images) {
    const [repository, tag] = name.split(":");
    await pushToRegistry(layout, image.manifest, { origin: `http://${registry.directHost}`, repository, tag });
  }
  const version = (await run("docker-registry", ["--version"])).trim().split(" ").at(-1);
  say(`Debian's docker-registry ${version} on ${registry.directHost}\n`);
  const list = images.map(({ name }) => `  - ref: ${registry.directHost}/${name}\n`).join("");
  const head = "apiVersion: nodewarm.io/v1alpha1\nkind: ImageSet\nmetadata:\n  name: demo\nspec:\n  images:\n";
  await writeFile("demo.yaml", `${head}${list}`);
  return { wanted: ["-f", "demo.yaml"], registry: { host: registry.directHost, stop: () => registry.stop() } };
}

function describeImages({ images }: DemoImages): void {
  const rows = images.map(({ name, about, image }) => [
    name,
    `${image.layers.length} layers`,
    formatBytes(sum(image.layers.map(({ descriptor }) => descriptor.size))),
    formatBytes(sum(image.layers.map(({ tarBytes }) => tarBytes))),
    about,
  ]);
  table([["image", "", "compressed", "unpacked", ""], ...rows], [2, 3]);
}

async function showMounted(scope: Scope, signal: AbortSignal): Promise<void> {
  if (needsRoot !== false) {
    say(`left out: mounting ${needsRoot}. "nodewarm ls" and "nodewarm cat" read the disk without it:`);
    await command(["ls", "demo.erofs", "/"], signal);
    return;
  }
  const startedMs = performance.now();
  const target = await mountErofs(scope, "demo.erofs");
  showCommand(["mount", "-t", "erofs", "-o", "ro,loop", "demo.erofs", target]);
  say(dim(`${(performance.now() - startedMs).toFixed(0)} ms with all images, loop device included\n`));

  const { images }: Inspected = JSON.parse(await run(nodewarm, ["inspect", "--json", "demo.erofs"]));
  const treeOf = (name: string) => {
    const found = images.find(({ names }) => names.some((each) => each.includes(name)));
    if (found === undefined) throw new Error(`the disk has no image ${name}`);
    return join(target, found.tree);
  };
  showCommand(["ls", target]);
  await runHere("ls", ["-x", target], signal);
  console.log();

  const api = treeOf("demo/api");
  say("An image's tree is ready to run; here is an application of one image, straight from the disk:");
  showCommand(["chroot", `…/${shortTree(relative(target, api))}`, "python3", "/srv/app.py", "now"]);
  await runHere("chroot", [api, "/usr/bin/python3", "/srv/app.py", "now"], signal);
  console.log();

  say("Files that images share are one inode, so the kernel caches them once:");
  for (const name of ["demo/api", "demo/science"]) {
    const [line] = (await run("sh", ["-c", `stat -c '%i %n' ${treeOf(name)}/usr/bin/python3.*[0-9]`])).split("\n");
    const [inode, path] = line.split(" ");
    say(`${name.padEnd(14)} inode ${inode}   ${shortTree(relative(target, path))}`);
  }
  console.log();
  say("Whiteouts did their work in the image that deletes its documentation:");
  for (const name of ["demo/api", "demo/web"]) {
    const there = await stat(join(treeOf(name), "usr/share/doc")).then(
      () => "is there",
      () => "is gone",
    );
    say(`${name.padEnd(14)} /usr/share/doc ${there}`);
  }
}

async function showCost({ images }: DemoImages, seconds: number, rebuild: number): Promise<void> {
  const layers = new Map(images.flatMap(({ image }) => image.layers.map((layer) => [layer.diffID, layer] as const)));
  const compressed = sum([...layers.values()].map(({ descriptor }) => descriptor.size));
  const unpacked = sum([...layers.values()].map(({ tarBytes }) => tarBytes));
  const { size } = await stat("demo.erofs");
  table(
    [
      [`${images.length} images, ${layers.size} distinct layers, compressed`, formatBytes(compressed)],
      ["the same layers unpacked", formatBytes(unpacked)],
      ["the disk: every layer and every image, each file content once", formatBytes(size)],
      ["build, from the first request to the file on the disk", formatSeconds(seconds)],
      ["build again with --from: no layer fetched, the same bytes", formatSeconds(rebuild)],
    ],
    [1],
  );
}

/** `images/0123456789ab…/usr`: enough of a digest to tell trees apart. */
function shortTree(path: string): string {
  return path.replace(/([0-9a-f]{12})[0-9a-f]{52}/, "$1…");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

const controller = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => controller.abort(new Error(name)));
const scope = new AsyncDisposableStack();
try {
  await demo(scope, controller.signal);
} catch (error) {
  if (controller.signal.aborted) {
    console.error("\nstopped; cleaning up");
    process.exitCode = 130;
  } else {
    console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  process.chdir("/");
  await scope.disposeAsync();
}
