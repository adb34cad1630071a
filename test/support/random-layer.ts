import { directory, type EntryFields, fifo, file, hardLink, opaque, symbolicLink, tar, whiteout } from "./tar-maker.ts";

/**
 * A layer over few names, so that the layers of a stack often meet: the same path as directory here and file there,
 * deleted, hidden, implied, linked. Some stacks of them are such that containerd refuses them.
 *
 * Two things are left out that only a contradictory tar has. A directory's entry behind entries below it: containerd has
 * then given the directory the xattrs of the one below, and keeps them. An entry that replaces a directory which it has only implied
 * itself: containerd may have refused to make that directory.
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
  });
  const entries: Buffer[] = [];
  const layer: Layer = new Map();
  for (let count = 1 + random(12); count > 0; count--) {
    const name = path();
    const kind = pick(kinds);
    if (!fits(layer, name, kind)) continue;
    const target = pick([...layer].filter(([, other]) => other === "file").map(([other]) => other));
    if (kind === "hard link" && (target === undefined || target === name)) continue;
    layer.set(name, kind);
    entries.push(write(name, kind, target ?? ""));
  }
  return tar(...entries);

  function write(name: string, kind: Kind, target: string): Buffer {
    switch (kind) {
      case "whiteout":
        return whiteout(name);
      case "opaque":
        return opaque(name);
      case "directory":
        return directory(name, attributes());
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

/** False where the entry contradicts those before it in the same layer. */
function fits(layer: Layer, name: string, kind: Kind): boolean {
  const parts = name.split("/");
  const parents = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
  if (!parents.every((parent) => isFolder(layer.get(parent)))) return false;
  const present = layer.get(name);
  const hasChildren = [...layer.keys()].some((other) => other.startsWith(`${name}/`));
  if (kind === "directory") return present === "directory" || (present === undefined && !hasChildren);
  if (kind === "opaque") return isFolder(present);
  if (hasChildren || isFolder(present) !== (present === undefined)) return false;
  return present === undefined || (present !== "whiteout" && kind !== "whiteout");
}
