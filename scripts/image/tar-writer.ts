/** A file, folder or symbolic link of an image, owned by root. */
export type TarEntry = {
  /** Without a slash at its start or end. */
  readonly path: string;
  readonly mode: number;
} & ({ readonly content: Uint8Array } | { readonly target: string } | { readonly isFolder: true });

const blockBytes = 512;

/** Offsets and lengths of fields (POSIX.1-2017, pax, "ustar Interchange Format"). */
const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  prefix: [345, 155],
} as const;

/**
 * An archive whose bytes depend on nothing but its arguments: entries by path, folders around them included, all of one time. Throws when a
 * path is there twice or does not fit the format.
 */
export function writeTar(entries: readonly TarEntry[], timeSeconds: number): Buffer {
  const byPath = new Map<string, TarEntry>();
  for (const entry of entries) {
    if (byPath.has(entry.path)) throw new Error(`${entry.path} is there twice`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
      const around = path.slice(0, at);
      const there = byPath.get(around);
      if (there === undefined) byPath.set(around, { path: around, mode: 0o755, isFolder: true });
      else if (!("isFolder" in there)) throw new Error(`${path} lies in what is no folder`);
    }
  }
  const sorted = [...byPath.values()].sort((left, right) => (left.path < right.path ? -1 : 1));
  const blocks = sorted.flatMap((entry) => {
    const content = "content" in entry ? entry.content : new Uint8Array();
    return [header(entry, content.length, timeSeconds), content, new Uint8Array(-content.length & (blockBytes - 1))];
  });
  return Buffer.concat([...blocks, new Uint8Array(2 * blockBytes)]);
}

function header(entry: TarEntry, sizeBytes: number, timeSeconds: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const text = ([offset, length]: readonly [number, number], value: string) => {
    if (Buffer.byteLength(value) > length) throw new Error(`${entry.path}: "${value}" is too long for the archive`);
    block.write(value, offset);
  };
  const octal = (place: readonly [number, number], value: number) =>
    text(place, `${value.toString(8).padStart(place[1] - 1, "0")}\0`);
  const path = "isFolder" in entry ? `${entry.path}/` : entry.path;
  const [prefix, name] = splitPath(path);
  text(field.name, name);
  text(field.prefix, prefix);
  octal(field.mode, entry.mode);
  octal(field.uid, 0);
  octal(field.gid, 0);
  octal(field.size, sizeBytes);
  octal(field.mtime, timeSeconds);
  text(field.type, "isFolder" in entry ? "5" : "target" in entry ? "2" : "0");
  if ("target" in entry) text(field.linkName, entry.target);
  text(field.magic, "ustar\x0000");
  text(field.checksum, " ".repeat(8));
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(field.checksum, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** Long paths are split at a slash. */
function splitPath(path: string): readonly [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= field.name[1]) return ["", path];
  const slash = path.indexOf("/", path.length - field.name[1] - 1);
  return slash < 0 || slash === path.length - 1 ? ["", path] : [path.slice(0, slash), path.slice(slash + 1)];
}
