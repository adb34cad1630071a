import { LayerError } from "../layer-error.ts";
import type { Xattr } from "../layer-tree.ts";
import { parseDecimal, parsePaxTime } from "./fields.ts";
import { isHeaderOnly, type TarHeader, typeFlag } from "./header.ts";
import type { PaxRecords } from "./pax.ts";
import { checkSparseMap, paxSparseVersion, type SparseMap, sparseMapOfRecords } from "./sparse.ts";
import type { TarEntry } from "./tar-entry.ts";

const xattrPrefix = "SCHILY.xattr.";
const libarchivePrefix = "LIBARCHIVE.xattr.";
const none: readonly never[] = [];

export type KnownSparse = {
  readonly map: SparseMap;
  readonly realSize: number | undefined;
  /** Bytes of the data section that the map took. */
  readonly mapBytes: number;
};

export type MergedEntry = {
  readonly entry: TarEntry;
  /** Size of the data section. */
  readonly storedBytes: number;
};

/**
 * The entry that a header, its PAX records and GNU long names describe together, with Go's precedence: a GNU long name before the
 * PAX path before the header; empty PAX values count as absent. Throws `LayerError` for values that are no numbers.
 */
export function mergeEntry(
  header: TarHeader,
  records: PaxRecords | undefined,
  longName: Uint8Array | undefined,
  longLink: Uint8Array | undefined,
  sparse: KnownSparse | undefined,
): MergedEntry {
  let { name, linkName, uid, gid, size, mtimeSeconds } = header;
  let mtimeNanoseconds = 0;
  let xattrs: Xattr[] | undefined;
  let ignored: string[] | undefined;
  if (records !== undefined) {
    for (const [key, value] of records) {
      if (key.startsWith(xattrPrefix)) {
        xattrs ??= [];
        xattrs.push({ name: Buffer.from(key.slice(xattrPrefix.length), "latin1"), value });
        continue;
      }
      if (isIgnored(key, records)) {
        ignored ??= [];
        ignored.push(key);
      }
      if (value.length === 0) continue;
      switch (key) {
        case "path":
          name = value;
          break;
        case "linkpath":
          linkName = value;
          break;
        case "uid":
          uid = parseDecimal(value);
          break;
        case "gid":
          gid = parseDecimal(value);
          break;
        case "size":
          size = parseDecimal(value);
          break;
        case "mtime":
          ({ seconds: mtimeSeconds, nanoseconds: mtimeNanoseconds } = parsePaxTime(value));
          break;
        case "atime":
        case "ctime":
          parsePaxTime(value);
          break;
      }
    }
  }
  name = longName ?? name;
  linkName = longLink ?? linkName;
  let type = header.type;
  if (type === typeFlag.regularOld) type = name.at(-1) === 0x2f ? typeFlag.directory : typeFlag.regular;
  const storedBytes = isHeaderOnly(type) ? 0 : size;
  if (storedBytes < 0) throw new LayerError("invalid-tar", "its size is negative");

  let sizeBytes = storedBytes;
  let map = sparse?.map;
  if (sparse?.realSize !== undefined) sizeBytes = sparse.realSize;
  const version = type !== typeFlag.gnuSparse && records !== undefined ? paxSparseVersion(records) : undefined;
  if (version !== undefined && records !== undefined) {
    if (isHeaderOnly(type)) throw new LayerError("invalid-tar", "it is sparse, but has no data");
    const sparseName = records.get("GNU.sparse.name");
    if (sparseName !== undefined && sparseName.length > 0) name = sparseName;
    sizeBytes = realSizeOf(records) ?? storedBytes;
    if (version === "0.x") map = sparseMapOfRecords(records);
  }
  if (sizeBytes < 0) throw new LayerError("invalid-tar", "its size is negative");
  if (map !== undefined) checkSparseMap(map, sizeBytes, storedBytes - (sparse?.mapBytes ?? 0));
  const entry: TarEntry = {
    name,
    linkName,
    type,
    mode: header.mode,
    uid,
    gid,
    sizeBytes,
    mtimeSeconds,
    mtimeNanoseconds,
    major: header.major,
    minor: header.minor,
    xattrs: xattrs ?? none,
    ignoredRecords: ignored ?? none,
    sparse: map,
  };
  return { entry, storedBytes };
}

function realSizeOf(records: PaxRecords): number | undefined {
  const size = records.get("GNU.sparse.size");
  const value = size !== undefined && size.length > 0 ? size : records.get("GNU.sparse.realsize");
  return value === undefined || value.length === 0 ? undefined : parseDecimal(value);
}

/** Attributes in forms of libarchive (base64), star and Red Hat; a libarchive one counts only without its SCHILY twin. */
function isIgnored(key: string, records: PaxRecords): boolean {
  if (key.startsWith(libarchivePrefix)) {
    return !records.has(xattrPrefix + percentDecoded(key.slice(libarchivePrefix.length)));
  }
  return key.startsWith("SCHILY.acl.") || key.startsWith("RHT.security.");
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
