import { readdir } from "node:fs/promises";
import { isAbsolute } from "node:path";
import type { MountAllOptions, MountReport } from "../../runtime/containerd/mount-all.ts";
import type { CommandIo } from "../command.ts";
import { describeConditions } from "../inject/inject-report.ts";
import { parseOptions } from "../options.ts";
import { requireRoot } from "../require-root.ts";
import { UsageError } from "../usage-error.ts";

const help = `Usage: nodewarm mount --all [OPTION...]

Mounts every disk again that was injected, as after a reboot. Needs root, and no running container runtime: run it before the
runtime starts. What is mounted already stays as it is, unless its device is gone or its file was replaced. A disk that is not
there keeps nothing else from being mounted.

      --all                 all of them
      --snapshots DIR       a folder with the snapshots of containerd's overlayfs snapshotter, such as
                            /data/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots; may be repeated
                            (default: those of the usual distributions, and of the units and configuration files of containerd, k3s, RKE2,
                            k0s and Docker)
      --data-root DIR       a data root of Docker with the overlay2 store; may be repeated (default: that of its unit or
                            configuration file). With this or --snapshots, only the folders that are given count
      --wait SECONDS        how long to wait for devices that are not there yet (default: 10)
      --json                one JSON object on standard output
  -h, --help                this text

Exit codes: 0 all disks are mounted (none may be injected), 1 one is not, 2 wrong usage.
`;

const words = {
  all: { type: "boolean" },
  snapshots: { type: "string", multiple: true },
  "data-root": { type: "string", multiple: true },
  wait: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** `nodewarm mount`. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseOptions(args, words);
  if (values.help) {
    io.stdout.write(help);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError("mount takes no disk; inject it instead");
  if (!values.all) throw new UsageError("say --all: every disk that was injected is mounted again");
  const waitMs = values.wait === undefined ? undefined : seconds(values.wait) * 1000;
  const folders = values.snapshots ?? [];
  const dataRoots = values["data-root"] ?? [];
  const all = [...folders, ...dataRoots];
  const relative = all.find((folder) => !isAbsolute(folder));
  if (relative !== undefined) throw new UsageError(`${relative}: give an absolute path`);
  requireRoot("mount", "mounts disks");
  // Those that nobody named may be missing; a folder that is given may not.
  for (const folder of all) await readdir(folder);
  const [{ startDiskWait }, { mountAll }, { mountDockerDisks }] = await Promise.all([
    import("../../runtime/host/disk-search.ts"),
    import("../../runtime/containerd/mount-all.ts"),
    import("../../runtime/docker/mount-disks.ts"),
  ]);
  const options: Pick<MountAllOptions, "wait" | "signal" | "onEvent"> = {
    // One for all disks, whichever runtime they are for.
    wait: startDiskWait(waitMs),
    signal: io.signal,
    onEvent: (event) => {
      if (event.type === "waiting") io.stderr.write(`waiting for disk ${event.id.slice(0, 12)}: ${event.message}\n`);
    },
  };
  const isGiven = all.length > 0;
  const { disks, conditions } = await mountAll({ ...options, ...(isGiven && { snapshotsFolders: folders }) });
  // After the others: a disk may be in both, and is mounted once.
  const ofDocker = await mountDockerDisks({ ...options, ...(isGiven && { dataRoots }) });
  const report: MountReport = { disks: [...disks, ...ofDocker], conditions };
  io.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : describe(report));
  const isComplete = report.conditions.length === 0 && report.disks.every(({ result }) => result !== "missing");
  return isComplete ? 0 : 1;
}

function describe({ disks, conditions }: MountReport): string {
  const lines = disks.map(({ id, path, result, conditions: of }) => {
    const what = {
      mounted: path === undefined ? "mounted" : `mounted from ${path}`,
      present: "was mounted",
      missing: "not mounted",
    }[result];
    return `${id.slice(0, 12)}: ${what}\n${describeConditions(of, "  ")}`;
  });
  if (lines.length === 0 && conditions.length === 0) return "no disk is injected\n";
  return `${lines.join("")}${describeConditions(conditions)}`;
}

function seconds(text: string): number {
  if (!/^\d{1,4}(?:\.\d{1,3})?$/.test(text)) throw new UsageError(`--wait "${text}": give seconds, such as 30`);
  return Number(text);
}
