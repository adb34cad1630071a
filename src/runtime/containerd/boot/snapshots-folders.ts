import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { dockerDataRoots } from "../../docker/data-roots.ts";
import { readUnitCommands } from "../../host/unit-commands.ts";
import { configPath, optionOf, readConfigurationFiles } from "../configuration.ts";

/** Roots of containerd as distributions set them. */
const usualRoots = [
  "/var/lib/containerd",
  "/var/lib/rancher/k3s/agent/containerd",
  "/var/lib/rancher/rke2/agent/containerd",
  "/var/snap/microk8s/common/var/lib/containerd",
  "/var/lib/k0s/containerd",
];

/** Below the folder of Docker: those of a containerd that it starts itself. */
const rootInDocker = "containerd/daemon";

/** Distributions that start a containerd of their own below a folder that `--data-dir` names, or their configuration files. */
const distributions: readonly { readonly units: readonly string[]; readonly root: string; readonly file?: string }[] = [
  { units: ["k3s.service", "k3s-agent.service"], root: "agent/containerd", file: "/etc/rancher/k3s/config.yaml" },
  {
    units: ["rke2-server.service", "rke2-agent.service"],
    root: "agent/containerd",
    file: "/etc/rancher/rke2/config.yaml",
  },
  { units: ["k0scontroller.service", "k0sworker.service"], root: "containerd" },
];

/** Where k3s and RKE2 write the configuration of their containerd, seen from its root. */
const generatedFile = "../etc/containerd/config.toml";

const snapshotters = ["overlayfs", "erofs"] as const;
const pluginOf = (snapshotter: string) => `io.containerd.snapshotter.v1.${snapshotter}`;

export type ConfigurationFiles = {
  /** Default: `/etc/containerd/config.toml`. */
  readonly containerd?: string;
  /** Default: `/etc/docker/daemon.json`. */
  readonly docker?: string;
  /** Folders of systemd's units. Default: the usual ones. */
  readonly units?: readonly string[];
};

/**
 * Folders in which the overlay and the EROFS snapshotter of a containerd may keep their snapshots, whether they exist or not, with none of the
 * daemons running: those of the usual distributions, and those that the units of containerd (`--config`, `--root`), k3s, RKE2, k0s (`--data-dir`)
 * and Docker (`--data-root`) name, and the configuration files (`root`, `root_path` of the snapshotter; `data-root`). What cannot be
 * read names none. One too many costs a look; so whatever any file says counts, also where another overrides it.
 */
export async function defaultSnapshotsFolders(files: ConfigurationFiles = {}): Promise<string[]> {
  const containerds = await readUnitCommands("containerd.service", files.units);
  const dockers = await readUnitCommands("docker.service", files.units);
  const roots = [
    ...usualRoots,
    ...containerds.flatMap((command) => absolute(optionOf(command, ["root"]))),
    ...(await distributionRoots(files.units)),
    ...(await dockerDataRoots(dockers, files.docker)).map((root) => join(root, rootInDocker)),
  ];
  const own: string[] = [];
  const configurations = [
    files.containerd ?? configPath([]),
    ...containerds.map(configPath),
    ...roots.filter((root) => root.endsWith("/agent/containerd")).map((root) => join(root, generatedFile)),
  ];
  for (const path of new Set(configurations)) {
    const configuration = await readConfigurationFiles(path);
    roots.push(...configuration.values("root").flatMap(absolute));
    // The first version of the format knows plugins by their short names.
    for (const plugin of snapshotters.flatMap((name) => [name, pluginOf(name)]))
      own.push(...configuration.values("plugins", plugin, "root_path").flatMap(absolute));
  }
  const folders = [...snapshotters.flatMap((name) => roots.map((root) => join(root, pluginOf(name)))), ...own];
  return [...new Set(folders.map((folder) => join(folder, "snapshots")))];
}

async function distributionRoots(units: readonly string[] | undefined): Promise<string[]> {
  const roots: string[] = [];
  for (const { units: names, root, file } of distributions) {
    const commands = (await Promise.all(names.map((name) => readUnitCommands(name, units)))).flat();
    const text = file === undefined ? "" : await readFile(file, "utf8").catch(() => "");
    // One line of YAML, which people write without quotes or with either kind.
    const inFile = /^data-dir:\s*(["']?)(\/.*?)\1\s*(?:#.*)?$/m.exec(text)?.[2];
    const folders = [...commands.map((command) => optionOf(command, ["data-dir", "d"])), inFile];
    roots.push(...folders.flatMap(absolute).map((folder) => join(folder, root)));
  }
  return roots;
}

function absolute(value: unknown): string[] {
  return typeof value === "string" && isAbsolute(value) ? [value] : [];
}
