import { statfs } from "node:fs/promises";
import { basename } from "node:path";
import { verifyDisk } from "../../disk/verify/verify-disk.ts";
import { openDiskSource } from "../../runtime/host/disk-source.ts";
import { PublishError } from "../publish-error.ts";
import { nodeLayout } from "./node-layout.ts";
import { installProgram } from "./program.ts";
import { RootFolder } from "./root-folder.ts";
import { agentUnitFile, dropInFile, enablingLink, type NodeFile, type RuntimeUnit, runtimeUnits } from "./units.ts";

export type SeedOptions = {
  /** The node's root file system as a folder of this machine; `/` for the machine itself. */
  readonly root: string;
  /** Files or block devices with disks; may be none. */
  readonly disks: readonly string[];
  /** Folder of the bundle. */
  readonly program: string;
  /** Put into the configuration folder, by their base names. */
  readonly configuration: readonly NodeFile[];
  readonly signal: AbortSignal;
  readonly onEvent?: (event: SeedEvent) => void;
};

export type SeedEvent =
  | { readonly type: "verifying"; readonly disk: string; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly type: "copying"; readonly disk: string; readonly sizeBytes: number };

export type SeededDisk = {
  /** On the node. */
  readonly path: string;
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  readonly sizeBytes: number;
  readonly images: number;
};

export type SeedReport = {
  readonly root: string;
  readonly disks: readonly SeededDisk[];
  /** Units that mount the disks again before they start. */
  readonly runtimes: readonly RuntimeUnit[];
  /** Every other file that was written, as the node sees it. */
  readonly files: readonly string[];
};

type CheckedDisk = Omit<SeededDisk, "path"> & { readonly source: string };

/** systemd's folders for units that packages and people bring (systemd.unit(5)). */
const unitFolders = [nodeLayout.units, "/usr/lib/systemd/system", "/lib/systemd/system"];

/** Kept free beside what is copied, so that a seeded node can still boot. */
const spareBytes = 64 << 20;

/**
 * Brings disks, program, configuration and units into a root file system, so that a machine that boots from it has the images before it
 * takes workloads. Every disk is read in full and checked before anything is written. No program of the node is run. Doing it again replaces
 * what is there; interrupted, it leaves nothing half-written. Throws `PublishError`, `DiskError`, and errors of the file system.
 */
export async function seedRoot(options: SeedOptions): Promise<SeedReport> {
  const root = await RootFolder.open(options.root);
  const checked: CheckedDisk[] = [];
  for (const disk of options.disks) checked.push(await checkDisk(disk, options));
  const places = placesOf(checked);
  await checkRoom(root, checked);

  const disks: SeededDisk[] = [];
  // Only root may write there, or the agent trusts nothing in it.
  await root.makePrivateFolder(nodeLayout.disks);
  for (const { source, ...disk } of checked) {
    options.signal.throwIfAborted();
    const path = places.get(source) ?? "";
    options.onEvent?.({ type: "copying", disk: source, sizeBytes: disk.sizeBytes });
    await root.copyFile(source, path, 0o600);
    disks.push({ ...disk, path });
  }

  const files = [...(await installProgram(root, options.program, options.signal))];
  const put = async ({ path, text }: NodeFile) => {
    await root.writeFile(path, text);
    files.push(path);
  };
  // Without it the agent would wait for a configuration.
  await root.makeFolder(nodeLayout.configuration);
  for (const file of options.configuration) await put(file);
  const runtimes = await runtimesOf(root);
  for (const unit of runtimes) await put(dropInFile(unit));
  await put(agentUnitFile());
  await root.link(enablingLink.path, enablingLink.target);
  files.push(enablingLink.path);
  return { root: root.path, disks, runtimes, files };
}

/** Units of runtimes that the root file system has. */
async function runtimesOf(root: RootFolder): Promise<readonly RuntimeUnit[]> {
  const found = await Promise.all(unitFolders.map((folder) => root.list(folder)));
  return runtimeUnits.filter((unit) => found.some((names) => names.includes(unit)));
}

async function checkDisk(path: string, { signal, onEvent }: SeedOptions): Promise<CheckedDisk> {
  const { disk, source } = await openDiskSource(path);
  try {
    const { id, line, sequence, sizeBytes } = source;
    const { problems, omitted } = await verifyDisk(disk.source, {
      signal,
      onProgress: ({ phase, done, total }) => {
        if (phase === "data") onEvent?.({ type: "verifying", disk: path, doneBytes: done, totalBytes: total });
      },
    });
    const [first] = problems;
    if (first !== undefined) {
      const more = problems.length + omitted - 1;
      throw new PublishError(
        "unsound-disk",
        `${path}: ${first.place}: ${first.message}${more > 0 ? ` (and ${more} more)` : ""}; build the disk again, "nodewarm verify ${path}" shows all`,
      );
    }
    return { source: path, id, line, sequence, sizeBytes, images: disk.index.images.length };
  } finally {
    await disk.close();
  }
}

/** By path of the disk: its place on the node, under its own name where that is one the agent takes. */
function placesOf(disks: readonly CheckedDisk[]): ReadonlyMap<string, string> {
  const places = new Map<string, string>();
  const taken = new Map<string, string>();
  for (const { source, id } of disks) {
    const base = basename(source);
    const name = /^[\w][\w.-]*\.erofs$/.test(base) ? base : `${id.slice(0, 12)}.erofs`;
    const other = taken.get(name);
    if (other !== undefined)
      throw new PublishError(
        "unsound-disk",
        `${other} and ${source} would both be ${nodeLayout.disks}/${name}; rename one`,
      );
    taken.set(name, source);
    places.set(source, `${nodeLayout.disks}/${name}`);
  }
  return places;
}

async function checkRoom(root: RootFolder, disks: readonly CheckedDisk[]): Promise<void> {
  const folder = await root.makeFolder(nodeLayout.disks);
  const { bavail, bsize } = await statfs(folder);
  const needed = disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, spareBytes);
  if (bavail * bsize >= needed) return;
  throw new PublishError(
    "no-space",
    `${root.path}: ${Math.ceil(needed / 2 ** 20)} MiB are needed for the disks and ${Math.floor((bavail * bsize) / 2 ** 20)} MiB are free; make the file system larger`,
  );
}
