import { acl, minimalAcl, otherAcl } from "../corpus/edge-layers/parts.ts";
import {
  type Bytes,
  directory,
  type EntryFields,
  fifo,
  file,
  hardLink,
  opaque,
  symbolicLink,
  tar,
  whiteout,
} from "./tar-maker.ts";

/**
 * A layer over few names, so that the layers of a stack often meet: the same path as directory here and file there,
 * deleted, hidden, implied, linked. Some stacks of them are such that containerd refuses them.
 * Directories have default ACLs now and then, and entries contradict each other: a directory's own one behind those below it, others
 * in the place of directories that were only implied.
 */
export function randomLayer(random: (below: number) => number): Buffer {
  const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value;
  const path = (): string => Array.from({ length: 1 + random(3) }, () => pick(["a", "b", "c", "d"])).join("/");
  const attributes = (): EntryFields => ({
    mode: pick([0o755, 0o700, 0o1777, 0o4711, 0o2775, 0o640]),
    uid: pick([0, 0, 1000, 70_000]),
    gid: pick([0, 0, 33, 3_000_000]),
    mtime: 1_600_000_000 + random(1000),
    ...(random(4) === 0 && { xattrs: { "user.note": pick(["one", "two\0\n"]), "trusted.gone": "x" } }),
    ...(random(6) === 0 && { xattrs: { "system.posix_acl_access": pick([acl, otherAcl, minimalAcl, ""]) } }),
  });
  const entries: Buffer[] = [];
  const layer: Layer = new Map();
  for (let count = 1 + random(12); count > 0; count--) {
    const name = path();
    const kind = pick(kinds);
    if (!fits(layer, name, kind)) continue;
    const target = pick([...layer].filter(([, other]) => other === "file").map(([other]) => other));
    if (kind === "hard link" && (target === undefined || target === name)) continue;
    if (!isFolder(kind)) for (const other of [...layer.keys()]) if (other.startsWith(`${name}/`)) layer.delete(other);
    layer.set(name, kind);
    entries.push(write(name, kind, target ?? ""));
  }
  return tar(...entries);

  function defaultAcl(): Readonly<Record<string, Bytes>> {
    return {
      "system.posix_acl_default": pick([acl, acl, otherAcl, minimalAcl, ""]),
      ...(random(3) === 0 && { "user.other": "x" }),
    };
  }

  function write(name: string, kind: Kind, target: string): Buffer {
    switch (kind) {
      case "whiteout":
        return whiteout(name);
      case "opaque":
        return opaque(name);
      case "directory":
        return directory(name, { ...attributes(), ...(random(3) === 0 && { xattrs: defaultAcl() }) });
      case "symbolic link":
        return symbolicLink(name, pick(["a", "../b", "/c/d", "missing"]), attributes());
      case "hard link":
        return hardLink(name, target, attributes());
      case "fifo":
        return fifo(name, attributes());
      case "file":
        return file(name, pick(["", "one", "two", "x".repeat(5000)]), attributes());
    }
  }
}

type Kind = "directory" | "file" | "symbolic link" | "hard link" | "fifo" | "whiteout" | "opaque";
type Layer = Map<string, Kind>;

const kinds: readonly Kind[] = [
  ...(["directory", "directory", "directory", "file", "file", "file", "hard link", "hard link"] as const),
  ...(["symbolic link", "fifo", "whiteout", "whiteout", "opaque"] as const),
];

const isFolder = (kind: Kind | undefined): boolean => kind === undefined || kind === "directory" || kind === "opaque";

/** False where containerd would refuse the whole layer for it, or almost so: then few stacks were left. */
function fits(layer: Layer, name: string, kind: Kind): boolean {
  const parts = name.split("/");
  const parents = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
  if (!parents.every((parent) => isFolder(layer.get(parent)))) return false;
  const present = layer.get(name);
  const hasChildren = [...layer.keys()].some((other) => other.startsWith(`${name}/`));
  if (kind === "directory") return isFolder(present);
  if (kind === "opaque") return isFolder(present);
  if (kind === "whiteout" || present === "whiteout") return present === undefined && !hasChildren;
  // The time of a directory below would have no place any more.
  return ![...layer].some(([other, otherKind]) => otherKind === "directory" && other.startsWith(`${name}/`));
}
