import { fileType } from "../../../layers/layer-tree.ts";
import type { DirectoryAttributes } from "../../layer-instance.ts";
import { compareNames } from "../../names.ts";
import { direntType, inode as inodeFormat } from "../constants.ts";
import { type DirectoryPlace, placeDirectory, writeDirectory } from "./directories.ts";
import { appendEntry, createDirectoryEntries, directoryShape } from "./directory-encoder.ts";
import { encodeInode } from "./inode-encoder.ts";
import { chunkedForm, flatForm } from "./leaf-inodes.ts";
import { nidAt } from "./metadata-allocator.ts";
import type { MetadataArea } from "./metadata-area.ts";

/** A file that is not of a layer: 0444, 0:0. */
export type SkeletonFile = {
  readonly kind: "file";
  /** Entries of its map where each 4 KiB has a block of its own, 0 where it is contiguous. */
  readonly mapEntries: number;
  /** Asked for when it is written. `blocks`: the first block, or the map. */
  readonly place: () => { readonly sizeBytes: number; readonly blocks: number | Uint32Array };
};

/** A directory that is not of a layer: 0755, 0:0. */
export type SkeletonDirectory = { readonly kind: "directory"; readonly children: ReadonlyMap<string, SkeletonNode> };

/** A view whose root directory has its own NID. */
export type SkeletonMount = { readonly kind: "mount"; readonly rootNid: () => number };

export type SkeletonNode = SkeletonFile | SkeletonDirectory | SkeletonMount;

type PlacedFile = { readonly file: SkeletonFile; readonly position: number };

type Placed = {
  readonly directory: SkeletonDirectory;
  readonly place: DirectoryPlace;
  readonly parent: Placed | undefined;
  readonly names: readonly string[];
  readonly files: Map<string, PlacedFile>;
};

/** The directories around the trees, placed first so that the root's NID is small, and their files. */
export type PlacedSkeleton = {
  readonly rootNid: number;
  /** NID of the directory at `path`, such as `layers`. */
  nidOf(path: string): number;
  /** Writes directories and files; the roots of what is mounted must be placed by now. */
  write(createdSeconds: number): Promise<void>;
};

/** Places the inodes of `root`, of all directories below it, and then of the files. */
export function placeSkeleton(area: MetadataArea, root: SkeletonDirectory): PlacedSkeleton {
  const placed = new Map<string, Placed>();
  const visit = (directory: SkeletonDirectory, path: string, parent: Placed | undefined): void => {
    const names = [...directory.children.keys()].sort(byBytes);
    const place = placeDirectory(area, directoryShape(names.map(encode)), 0);
    const self = { directory, place, parent, names, files: new Map<string, PlacedFile>() };
    placed.set(path, self);
    for (const name of names) {
      const child = directory.children.get(name);
      if (child?.kind === "directory") visit(child, path === "" ? name : `${path}/${name}`, self);
    }
  };
  visit(root, "", undefined);
  for (const { directory, names, files } of placed.values())
    for (const name of names) {
      const file = directory.children.get(name);
      if (file?.kind !== "file") continue;
      const position = area.allocator.next(inodeFormat.bytes + 4 * file.mapEntries, inodeFormat.bytes);
      files.set(name, { file, position });
      area.inodeCount++;
      if (file.mapEntries > 0) area.hasChunks = true;
    }
  const nidOf = (path: string): number => {
    const found = placed.get(path);
    if (found === undefined) throw new Error(`no directory "${path}" in the skeleton`);
    return nidAt(found.place.position);
  };
  return {
    rootNid: nidOf(""),
    nidOf,
    write: async (createdSeconds) => {
      for (const [path, self] of placed) {
        await writeSkeletonDirectory(area, path, self, nidOf, createdSeconds);
        for (const file of self.files.values()) await writeFileInode(area, file, createdSeconds);
      }
    },
  };
}

async function writeSkeletonDirectory(
  area: MetadataArea,
  path: string,
  { directory, place, parent, names, files }: Placed,
  nidOf: (path: string) => number,
  createdSeconds: number,
): Promise<void> {
  const nid = nidAt(place.position);
  const children: [name: string, nid: number, type: number][] = [
    [".", nid, direntType.directory],
    ["..", parent === undefined ? nid : nidAt(parent.place.position), direntType.directory],
  ];
  for (const name of names) {
    const child = directory.children.get(name);
    const file = files.get(name);
    if (file !== undefined) children.push([name, nidAt(file.position), direntType.regular]);
    else if (child?.kind === "mount") children.push([name, child.rootNid(), direntType.directory]);
    else children.push([name, nidOf(path === "" ? name : `${path}/${name}`), direntType.directory]);
  }
  children.sort(([a], [b]) => byBytes(a, b));
  const entries = createDirectoryEntries();
  for (const [name, childNid, type] of children) {
    const bytes = encode(name);
    appendEntry(entries, bytes, 0, bytes.length, childNid, type);
  }
  await writeDirectory(area, nid, place.blocks, attributes(createdSeconds), entries, directoryShape(names.map(encode)));
}

async function writeFileInode(
  area: MetadataArea,
  { file, position }: PlacedFile,
  createdSeconds: number,
): Promise<void> {
  const { sizeBytes, blocks } = file.place();
  const form = typeof blocks === "number" ? flatForm(sizeBytes, blocks) : chunkedForm(sizeBytes, 0, blocks);
  const bytes = new Uint8Array(inodeFormat.bytes);
  const mode = fileType.regular | 0o444;
  encodeInode(
    bytes,
    { ...attributes(createdSeconds), ...form, mode, linkCount: 1, nid: nidAt(position) },
    new Uint8Array(0),
  );
  await area.writer.write(bytes, position);
  await area.writer.write(form.behind, position + inodeFormat.bytes);
}

function attributes(createdSeconds: number): DirectoryAttributes {
  return {
    mode: fileType.directory | 0o755,
    uid: 0,
    gid: 0,
    xattrs: [],
    mtimeSeconds: createdSeconds,
    mtimeNanoseconds: 0,
  };
}

const encoder = new TextEncoder();
const encode = (name: string): Uint8Array => encoder.encode(name);

function byBytes(a: string, b: string): number {
  const aBytes = encode(a);
  const bBytes = encode(b);
  return compareNames(aBytes, 0, aBytes.length, bBytes, 0, bBytes.length);
}
