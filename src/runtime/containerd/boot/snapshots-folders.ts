import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { parse } from "smol-toml";

/** Roots of containerd as distributions set them. */
const usualRoots = [
  "/var/lib/containerd",
  "/var/lib/rancher/k3s/agent/containerd",
  "/var/lib/rancher/rke2/agent/containerd",
  "/var/snap/microk8s/common/var/lib/containerd",
  "/var/lib/k0s/containerd",
];

/** Where Docker keeps its files, and below it those of a containerd that it starts itself. */
const dockerRoot = "/var/lib/docker";
const rootInDocker = "containerd/daemon";

const snapshotters = ["overlayfs", "erofs"].map((name) => `io.containerd.snapshotter.v1.${name}`);

export type ConfigurationFiles = {
  /** Default: `/etc/containerd/config.toml`. */
  readonly containerd?: string;
  /** Default: `/etc/docker/daemon.json`. */
  readonly docker?: string;
};

/**
 * Folders in which the overlay and the EROFS snapshotter of a containerd may keep their snapshots, whether they exist or not: those of the usual
 * distributions, and those that the configuration of containerd (`root`, `root_path` of the snapshotter) and of Docker (`data-root`)
 * name. A configuration that cannot be read names none.
 */
export async function defaultSnapshotsFolders(files: ConfigurationFiles = {}): Promise<string[]> {
  const [containerd, docker] = await Promise.all([
    readDocument(files.containerd ?? "/etc/containerd/config.toml", parse),
    readDocument(files.docker ?? "/etc/docker/daemon.json", JSON.parse),
  ]);
  const roots = [
    ...usualRoots,
    ...absolute(containerd.root),
    ...[dockerRoot, ...absolute(docker["data-root"])].map((root) => join(root, rootInDocker)),
  ];
  const folders = snapshotters
    .flatMap((snapshotter) => [
      ...roots.map((root) => join(root, snapshotter)),
      ...absolute(at(at(containerd, "plugins"), snapshotter).root_path),
    ])
    .map((root) => join(root, "snapshots"));
  return [...new Set(folders)];
}

type Table = Readonly<Record<string, unknown>>;

async function readDocument(path: string, parseText: (text: string) => unknown): Promise<Table> {
  try {
    return asTable(parseText(await readFile(path, "utf8")));
  } catch {
    return {};
  }
}

function at(table: Table, key: string): Table {
  return asTable(table[key]);
}

function asTable(value: unknown): Table {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function absolute(value: unknown): string[] {
  return typeof value === "string" && isAbsolute(value) ? [value] : [];
}
