import type { Xattr } from "../layer-tree.ts";
import type { SparseMap } from "./sparse.ts";

/** One entry of an archive with all its extended headers merged in. Byte views are valid only during the call. */
export type TarEntry = {
  /** As written, not cleaned. Never holds NUL. */
  readonly name: Uint8Array;
  readonly linkName: Uint8Array;
  /** Character code of the type flag; old forms of files and directories are already told apart. */
  readonly type: number;
  /** All bits of the field. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Size of the file with its holes. */
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly major: number;
  readonly minor: number;
  /** `SCHILY.xattr.` records in the order of the header, values unchanged. */
  readonly xattrs: readonly Xattr[];
  /** Keys of records that carry attributes in forms which containerd does not read. */
  readonly ignoredRecords: readonly string[];
  readonly sparse: SparseMap | undefined;
};

/** Takes what `TarReader` finds, in order: an entry, the pieces of its stored data, its end. */
export interface TarHandler {
  /** An entry begins; `data` comes only for types that have data. */
  entry(entry: TarEntry): void;
  /** The next stored bytes of the entry. */
  data(piece: Uint8Array): void;
  /** All data of the entry was given. */
  endEntry(): void;
  /** True while no more may be given; the reader then returns to its caller. */
  readonly paused: boolean;
}
