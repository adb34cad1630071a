import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ContainerdNode, openContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { injectDisk } from "../../../src/runtime/containerd/inject/inject-disk.ts";
import { diskMountPoint } from "../../../src/runtime/host/disk-mount-point.ts";
import { openDiskSource } from "../../../src/runtime/host/disk-source.ts";
import type { InjectOptions, InjectReport } from "../../../src/runtime/runtime.ts";
import { buildTestDisk } from "../disk-maker.ts";
import { addLayer, type MadeImage, type MadeLayer, makeImage } from "../image-maker.ts";
import { imageOfLayout } from "../layout-image.ts";
import { findProgram } from "../privileges.ts";
import { run } from "../processes.ts";
import { directory, file, symbolicLink, tar } from "../tar-maker.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";

/** Images for injection, in an OCI layout, which share their lowest layers. */
export type InjectionImages = {
  readonly layout: string;
  /** Three layers: busybox; files to be hidden; whiteouts, an opaque folder, a setuid program, owners. */
  readonly app: MadeImage;
  /** Two layers: the base of `app` and one of its own. */
  readonly tool: MadeImage;
  /** The base alone. */
  readonly base: MadeImage;
};

export const appName = "example.com/team/app:v1";
export const toolName = "example.com/team/tool:v1";
export const baseName = "example.com/team/base:v1";

/** That of this machine. */
export const platform = { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" };

/** `variant` makes the images (but not their base) differ from those of other calls. */
export async function makeInjectionImages(scope: Scope, variant = "1"): Promise<InjectionImages> {
  const layout = await temporaryDirectory(scope, "layout");
  const base = await addBusybox(layout);
  const below = await addLayer(layout, {
    tar: tar(
      directory("data"),
      file("data/gone", "below\n"),
      file("data/stays", "stays\n"),
      directory("opaque"),
      file("opaque/below", "below\n"),
    ),
  });
  const above = await addLayer(layout, {
    tar: tar(
      directory("data"),
      file("data/.wh.gone", ""),
      file("data/variant", `variant ${variant}\n`),
      directory("opaque"),
      file("opaque/.wh..wh..opq", ""),
      file("opaque/above", "above\n"),
      file("owned", "mine\n", { uid: 1234, gid: 5678, mode: 0o640 }),
      file("setuid", "program\n", { mode: 0o4755 }),
    ),
  });
  const own = await addLayer(layout, { tar: tar(file("tool", `tool ${variant}\n`)) });
  const runs = { Cmd: ["/bin/cat", "/data/variant"], Env: ["PATH=/bin"] };
  return {
    layout,
    app: await makeImage(layout, { layers: [base, below, above], platform, run: runs }),
    tool: await makeImage(layout, { layers: [base, own], platform, run: { Cmd: ["/bin/cat", "/tool"] } }),
    base: await makeImage(layout, { layers: [base], platform, run: { Cmd: ["/bin/echo", "base"] } }),
  };
}

async function addBusybox(layout: string): Promise<MadeLayer> {
  const busybox = findProgram("busybox");
  if (busybox === undefined)
    throw new Error("there is no busybox; install the packages of scripts/debian-packages.txt");
  const tools = ["sh", "cat", "ls", "stat", "echo", "sleep", "test", "touch", "find", "id", "sync"];
  return addLayer(layout, {
    tar: tar(
      ...["bin", "dev", "etc", "proc", "sys", "tmp"].map((name) => directory(name)),
      file("bin/busybox", await readFile(busybox), { mode: 0o755 }),
      ...tools.map((name) => symbolicLink(`bin/${name}`, "busybox")),
      file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
    ),
  });
}

export type InjectionDisk = {
  readonly line?: string;
  readonly sequence?: number;
  readonly blobs?: boolean;
  readonly erofsCache?: boolean;
  /** Default: that of this machine. */
  readonly architecture?: string;
  /** Default: all three under their names. */
  readonly images?: readonly (readonly [name: string, image: MadeImage])[];
};

/** Builds a disk of those images; its path. Its mount point is cleared when the scope ends. */
export async function makeInjectionDisk(
  scope: Scope,
  images: InjectionImages,
  disk: InjectionDisk = {},
): Promise<{ readonly path: string; readonly id: string }> {
  const { line = `test-${randomUUID()}`, sequence = 1, blobs = false, erofsCache = false } = disk;
  const { architecture, images: chosen } = disk;
  const folder = await temporaryDirectory(scope, "disk");
  const named = chosen ?? [
    [appName, images.app],
    [toolName, images.tool],
    [baseName, images.base],
  ];
  const resolved = await Promise.all(
    named.map(([name, { manifest }]) => imageOfLayout(images.layout, manifest, [name])),
  );
  const report = await buildTestDisk(folder, images.layout, [], {
    images: resolved,
    platform: architecture === undefined ? platform : { os: "linux", architecture },
    ...{ line, sequence, blobs, erofsCache },
  });
  const mountPoint = diskMountPoint(report.id);
  scope.defer(async () => {
    await run("umount", ["-l", mountPoint]).catch(() => {});
    await rm(mountPoint, { recursive: true, force: true }).catch(() => {});
  });
  return { path: join(folder, "disk.erofs"), id: report.id };
}

/** The node of a test's containerd, open for as long as the scope lasts. */
export async function openTestNode(
  scope: Scope,
  daemon: ContainerdDaemon,
  namespace = "k8s.io",
): Promise<ContainerdNode> {
  const node = await openContainerdNode(daemon.address, namespace);
  scope.defer(() => node.close());
  return node;
}

/** Injects a disk by its path, with options that tests rarely vary. */
export async function injectPath(
  node: ContainerdNode,
  path: string,
  options: Partial<InjectOptions> = {},
  atStep?: (step: string) => void,
): Promise<InjectReport> {
  const open = await openDiskSource(path);
  try {
    return await injectDisk(
      node,
      open,
      { handlers: "all", force: false, chains: true, signal: new AbortController().signal, ...options },
      atStep,
    );
  } finally {
    await open.disk.close();
  }
}
