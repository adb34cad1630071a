import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { addLayer, blobPath, type MadeImage, makeImage, tagInLayout } from "../image-maker.ts";
import { findProgram } from "../privileges.ts";
import { run } from "../processes.ts";
import { directory, file, symbolicLink, tar } from "../tar-maker.ts";

/** Image of the process that holds a pod's namespaces. */
export const pauseImageName = "nodewarm.test/pause:1";
/** Image with a shell and the tools of busybox. */
export const probeImageName = "nodewarm.test/probe:1";

export type RuntimeImages = {
  readonly pause: MadeImage;
  readonly probe: MadeImage;
  /** An archive of both under their names, which `ctr image import` and `docker load` take. */
  readonly archive: string;
};

/** Makes the images that pods and tests need, of Debian's static busybox, in an OCI layout at `layout`; no network. */
export async function makeRuntimeImages(layout: string): Promise<RuntimeImages> {
  const busybox = findProgram("busybox");
  if (busybox === undefined)
    throw new Error("there is no busybox; install the packages of scripts/debian-packages.txt");
  const program = file("bin/busybox", await readFile(busybox), { mode: 0o755 });
  const folders = ["bin", "dev", "etc", "proc", "sys", "tmp"].map((name) => directory(name));
  const names = ["sh", "cat", "ls", "stat", "id", "echo", "sleep", "test", "touch", "rm", "mount", "find"];
  const tools = names.map((name) => symbolicLink(`bin/${name}`, "busybox"));
  const users = file("etc/passwd", "root:x:0:0:root:/:/bin/sh\nprobe:x:1000:1000::/:/bin/sh\n");
  // Not compressed: a test makes them anew each time.
  const base = await addLayer(layout, { tar: tar(...folders, program, ...tools, users), compression: "none" });
  const platform = { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" };
  const pause = await makeImage(layout, {
    layers: [base],
    platform,
    run: { Entrypoint: ["/bin/sleep", "1000000"] },
  });
  const greeting = { tar: tar(file("greeting", "hello from the probe\n")), compression: "none" } as const;
  const probe = await makeImage(layout, {
    layers: [base, greeting],
    platform,
    run: { Cmd: ["/bin/cat", "/greeting"], Env: ["PATH=/bin"] },
  });
  const named = [
    [pauseImageName, pause],
    [probeImageName, probe],
  ] as const;
  for (const [name, image] of named) {
    await tagInLayout(layout, image.manifest, undefined, { "io.containerd.image.name": name });
  }
  // The form of Docker before 25.
  const docker = named.map(([name, image]) => ({
    Config: blobName(image.config.digest),
    RepoTags: [name],
    Layers: image.layers.map(({ descriptor }) => blobName(descriptor.digest)),
  }));
  await writeFile(join(layout, "manifest.json"), JSON.stringify(docker));
  const archive = join(layout, "images.tar");
  const parts = ["oci-layout", "index.json", "manifest.json", "blobs"];
  await run("tar", ["-C", layout, "-cf", archive, ...parts]);
  return { pause, probe, archive };
}

function blobName(digest: `sha256:${string}`): string {
  return blobPath("", digest);
}
