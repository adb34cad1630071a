import { readFile } from "node:fs/promises";
import { type DeviceNumber, sameDevice } from "./device-number.ts";
import { HostError } from "./host-error.ts";

/** One line of `/proc/PID/mountinfo` (Linux Documentation/filesystems/proc.rst, section 3.5). */
export type MountEntry = {
  readonly id: number;
  /** The mount on which this one lies; its own id for the root of the namespace. */
  readonly parentId: number;
  readonly device: DeviceNumber;
  /** Which folder of the file system is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  /** Those of the mount, such as `ro` and `nodev`. */
  readonly options: readonly string[];
  /** `shared:N`, `master:N`, `propagate_from:N`, `unbindable` and whatever later kernels add. */
  readonly optionalFields: readonly string[];
  readonly type: string;
  /** Often a device, or a word that means nothing; may be empty. */
  readonly source: string;
  /** Those of the file system. */
  readonly superOptions: readonly string[];
};

/** What is mounted in one mount namespace, at one moment. */
export class MountTable {
  readonly entries: readonly MountEntry[];

  constructor(entries: readonly MountEntry[]) {
    this.entries = entries;
  }

  /** What is mounted exactly at a path; of several on top of each other the uppermost. */
  at(path: string): MountEntry | undefined {
    const stack = this.entries.filter(({ mountPoint }) => mountPoint === path);
    const covered = new Set(stack.filter(({ id, parentId }) => id !== parentId).map(({ parentId }) => parentId));
    return stack.findLast(({ id }) => !covered.has(id));
  }

  /** What is mounted below a path, not at it. */
  below(path: string): MountEntry[] {
    const prefix = path.endsWith("/") ? path : `${path}/`;
    return this.entries.filter(({ mountPoint }) => mountPoint.startsWith(prefix) && mountPoint !== path);
  }

  /** The mount that an absolute path without links and `..` lies on. */
  containing(path: string): MountEntry | undefined {
    for (let folder = path; ; folder = folder.slice(0, folder.lastIndexOf("/"))) {
      const entry = this.at(folder === "" ? "/" : folder);
      if (entry !== undefined || folder === "" || folder === "/") return entry;
    }
  }

  ofDevice(device: DeviceNumber): MountEntry[] {
    return this.entries.filter((entry) => sameDevice(entry.device, device));
  }
}

/**
 * The mounts that a process sees. Throws `HostError`, or the `ENOENT`, `ESRCH` or `EINVAL` of `read(2)` when the process has
 * ended.
 */
export async function readMountTable(pid: number | "self"): Promise<MountTable> {
  return parseMountTable(await readFile(`/proc/${pid}/mountinfo`));
}

/** Throws `HostError` `unreadable` for a line that is none of `mountinfo`. */
export function parseMountTable(bytes: Uint8Array): MountTable {
  // The kernel escapes space, tab, newline and backslash in names, so that none of them is mistaken for a separator.
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1").split("\n");
  if (lines.at(-1) === "") lines.pop();
  return new MountTable(lines.map(parseLine));
}

const firstOptionalField = 6;

function parseLine(line: string): MountEntry {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", firstOptionalField);
  const numbers = /^(\d{1,15}) (\d{1,15}) (\d{1,10}):(\d{1,10}) /.exec(line)?.slice(1).map(Number);
  if (numbers === undefined || separator === -1 || fields.length < separator + 4) {
    throw new HostError(
      "unreadable",
      `a line of mountinfo cannot be understood: ${JSON.stringify(line.slice(0, 500))}`,
    );
  }
  const [id = 0, parentId = 0, major = 0, minor = 0] = numbers;
  const [root = "", mountPoint = "", options = ""] = fields.slice(3, firstOptionalField);
  const [type = "", source = "", ...superOptions] = fields.slice(separator + 1);
  return {
    id,
    parentId,
    device: { major, minor },
    root: unmangle(root),
    mountPoint: unmangle(mountPoint),
    options: options.split(","),
    optionalFields: fields.slice(firstOptionalField, separator),
    type: unmangle(type),
    source: unmangle(source),
    // Old kernels do not escape what a file system says of itself.
    superOptions: superOptions.join(" ").split(",").map(unmangle),
  };
}

/** Undoes `mangle_path` of the kernel (fs/seq_file.c): a backslash and three octal digits. Bytes come as latin1. */
function unmangle(field: string): string {
  const bytes = field.replace(/\\([0-3][0-7]{2})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return Buffer.from(bytes, "latin1").toString();
}

export type Propagation = {
  /** What is mounted below appears in the mounts of this peer group too. */
  readonly sharedGroup: number | undefined;
  /** What is mounted below mounts of that group appears here. */
  readonly masterGroup: number | undefined;
};

/** How mounts made below a mount spread (Linux Documentation/filesystems/sharedsubtree.rst); both undefined: private. */
export function propagation({ optionalFields }: MountEntry): Propagation {
  const group = (tag: string): number | undefined => {
    const field = optionalFields.find((text) => text.startsWith(tag));
    return field === undefined ? undefined : Number(field.slice(tag.length));
  };
  return { sharedGroup: group("shared:"), masterGroup: group("master:") };
}

/**
 * The lower directories of an overlay from top to bottom, as they were given to mount(2) (relative ones too), with `\:` and
 * `\,` undone (Linux Documentation/filesystems/overlayfs.rst); empty for other file systems.
 */
export function lowerDirectories({ type, superOptions }: MountEntry): string[] {
  if (type !== "overlay") return [];
  // The kernel writes commas inside a path as octal: no option is split in its middle.
  return superOptions
    .flatMap((option) => {
      const [, list] = /^lowerdir\+?=(.*)$/s.exec(option) ?? [];
      return list === undefined ? [] : (list.match(/(?:\\.|[^:\\])+/gs) ?? []);
    })
    .map((path) => path.replace(/\\(.)/gs, "$1"));
}
