/**
 * The tree that one layer unpacks to, in packed buffers: about 24 bytes and the name for each entry, so that millions of
 * entries fit in memory and cross threads without a copy.
 *
 * Entries stand in breadth-first order: entry 0 is the root (its name is empty), the children of one directory are
 * neighbours, sorted by the unsigned bytes of their names. Inodes come in three runs:
 *
 * 1. directories, in the order of their entries: directory `d` is inode `d`, the root is inode 0;
 * 2. all inodes without content (links, devices, fifos, whiteouts, empty files), by their first entry;
 * 3. regular files with content, by content (the order of `contents`), then by their first entry.
 *
 * Run 3 makes the inode numbers tell the order of the layer's contents.
 */
export type LayerTree = {
  readonly entryCount: number;
  readonly names: Uint8Array;
  /** End of entry `i`'s name in `names`; it begins at the end of entry `i - 1`. */
  readonly nameEnds: Uint32Array;
  readonly entryInode: Uint32Array;

  readonly inodeCount: number;
  readonly directoryCount: number;
  /** Entries `firstChild[d]` to `firstChild[d + 1] - 1` are the children of directory `d`; length `directoryCount + 1`. */
  readonly firstChild: Uint32Array;

  /** Per inode: index into `attributes`. */
  readonly attribute: PackedNumbers;
  /** Each combination of mode, owner and xattrs once. */
  readonly attributes: readonly InodeAttributes[];
  /** Per inode, seconds since 1970 (whole numbers, never negative) and nanoseconds. */
  readonly mtimeSeconds: PackedNumbers;
  readonly mtimeNanoseconds: PackedNumbers;
  readonly linkCount: PackedNumbers;
  /**
   * Per inode: regular file: index into the layer's contents, or `noContent` when it is empty; symbolic link: index into
   * `targetEnds`; device: `rdev` as Linux `new_encode_dev` gives it; directory: 1 when it was not in the tar but only
   * implied by a path below it, else 0; otherwise 0. An implied directory is 0755 0:0 with no xattr but an opaque mark.
   */
  readonly payload: Uint32Array;

  readonly targets: Uint8Array;
  /** End of target `i` in `targets`. */
  readonly targetEnds: Uint32Array;
  /** Directories that the tar only implies; where this is not 0, the tree depends on the layers below. */
  readonly impliedDirectoryCount: number;
  /**
   * What became of the tar's whiteouts and opaque marks, where it has any: `kept` for overlayfs, or `applied` to the tree
   * itself, as containerd does with a layer that has none below.
   */
  readonly whiteouts?: "kept" | "applied";
  /** Where inodes were made, if that does not follow from the tree; see `LayerOrigins`. */
  readonly origins?: LayerOrigins;
};

/**
 * What decides what a layer's inodes take from the layers below: a default ACL that an implied directory has from there is inherited by
 * what is made in it, until an entry says otherwise. In most layers it follows from the tree (`originsOfTree`). Not where the tar
 * contradicts itself: a directory's entry behind those below it, an implied directory removed again, an ACL taken away, a hard link
 * between directories.
 *
 * *Sources* are the occasions on which the layer has implied a directory, in their order, also of directories that are gone in the end.
 */
export type LayerOrigins = {
  /** Directories on the paths of sources: the node of the parent, which comes before; node 0 is the root. */
  readonly pathParents: Uint32Array;
  readonly pathNames: Uint8Array;
  /** End of node `i`'s name in `pathNames`. */
  readonly pathNameEnds: Uint32Array;
  /** Per source: node of its directory. */
  readonly sourcePath: Uint32Array;
  /**
   * Per source: twice the number + 1 of the source whose default ACL it inherits (0: that of `known`), plus 1 when the directory that it
   * was made in was itself only implied then.
   */
  readonly sourceFrom: Uint32Array;
  /** Per source: index into `known`, the attributes which the directory that it was made in had then by the layer alone. */
  readonly sourceKnown: Uint32Array;
  readonly known: readonly InodeAttributes[];
  /**
   * Per inode (missing: 0): the number + 1 of the source that it inherits ACLs of, or is, by 2^`shift`; and `originBits`.
   */
  readonly state: Uint32Array;
};

/** `ownAccess`, `ownDefault`: that ACL is the entry's own. `entered`: a directory that was implied before its entry came. */
export const originBits = { ownAccess: 1, ownDefault: 2, entered: 4, shift: 3 } as const;

/** Whole numbers ≥ 0 in the narrowest elements that hold them all. */
export type PackedNumbers = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** The same numbers in as few bytes as they need. */
export function packNumbers(numbers: PackedNumbers): PackedNumbers {
  let largest = 0;
  for (let i = 0; i < numbers.length; i++) if (numbers[i] > largest) largest = numbers[i];
  const Narrowest =
    largest <= 0xff
      ? Uint8Array
      : largest <= 0xffff
        ? Uint16Array
        : largest <= 0xffff_ffff
          ? Uint32Array
          : Float64Array;
  return numbers instanceof Narrowest ? numbers : Narrowest.from(numbers);
}

/** Value of `LayerTree.payload` for an empty regular file. */
export const noContent = 0xffff_ffff;

export type InodeAttributes = {
  /** File type and permission bits as in `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Sorted by the unsigned bytes of `name`. */
  readonly xattrs: readonly Xattr[];
};

export type Xattr = {
  /** Full name with its namespace, such as `security.capability`. */
  readonly name: Uint8Array;
  readonly value: Uint8Array;
};

export const fileType = {
  mask: 0o170000,
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  regular: 0o100000,
  symbolicLink: 0o120000,
} as const;
