/**
 * Tar archives put together by hand, record by record, so that tests can hold forms that no tar program writes.
 * Every function returns bytes; `tar(...)` joins them and adds the two zero blocks of the end.
 */

const blockBytes = 512;

export type Bytes = string | Uint8Array;

export type HeaderFields = {
  name?: Bytes;
  /** Permission bits, 0644 unless said. */
  mode?: number | Bytes;
  uid?: number | Bytes;
  gid?: number | Bytes;
  /** Size field; the length of the data unless said. */
  size?: number | Bytes;
  mtime?: number | Bytes;
  /** One character, `0` unless said. */
  type?: string;
  linkName?: Bytes;
  format?: "ustar" | "gnu" | "v7" | "star";
  userName?: Bytes;
  groupName?: Bytes;
  major?: number | Bytes;
  minor?: number | Bytes;
  prefix?: Bytes;
  /** Write all numbers in GNU base-256. */
  base256?: boolean;
  /** Sum the header as signed bytes, as Sun tar did. */
  signedChecksum?: boolean;
  /** Bytes laid over the header before the checksum is made: offset to bytes. */
  raw?: Readonly<Record<number, Bytes>>;
  /** Bytes laid over the header after the checksum is made. */
  rawAfterChecksum?: Readonly<Record<number, Bytes>>;
};

export type EntryFields = HeaderFields & {
  data?: Bytes;
  /** PAX records written in an `x` header before the entry. */
  pax?: PaxRecords;
  /** Extended attributes: `SCHILY.xattr.` records. */
  xattrs?: Readonly<Record<string, Bytes>>;
};

export type PaxRecords = Readonly<Record<string, Bytes>> | readonly (readonly [Bytes, Bytes])[];

export type SparsePart = { readonly offset: number; readonly data: Bytes };

export function bytes(value: Bytes): Buffer {
  return typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value);
}

/** Octal with leading zeros and a final NUL; base-256 where it does not fit or `base256` asks for it. */
export function numeric(value: number, width: number, base256 = false): Buffer {
  const field = Buffer.alloc(width);
  if (!base256 && value >= 0 && value < 8 ** (width - 1)) {
    field.write(value.toString(8).padStart(width - 1, "0"), "latin1");
    return field;
  }
  let rest = BigInt(value);
  for (let i = width - 1; i >= 0; i--) {
    field[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  field[0] = (field[0] ?? 0) | 0x80;
  return field;
}

/** The sum over a header with its checksum field as spaces. */
export function checksum(header: Uint8Array, signed = false): number {
  let sum = 0;
  for (let i = 0; i < blockBytes; i++) {
    const byte = i >= 148 && i < 156 ? 32 : (header[i] ?? 0);
    sum += signed && byte > 127 ? byte - 256 : byte;
  }
  return sum;
}

/** One header block. */
export function header(fields: HeaderFields = {}): Buffer {
  const block = Buffer.alloc(blockBytes);
  const put = (offset: number, width: number, value: Bytes | number | undefined, base = false) => {
    if (value === undefined) return;
    const source = typeof value === "number" ? numeric(value, width, base) : bytes(value);
    source.copy(block, offset, 0, Math.min(width, source.length));
  };
  const format = fields.format ?? "ustar";
  const base = fields.base256 ?? false;
  put(0, 100, fields.name ?? "");
  put(100, 8, fields.mode ?? 0o644, base);
  put(108, 8, fields.uid ?? 0, base);
  put(116, 8, fields.gid ?? 0, base);
  put(124, 12, fields.size ?? 0, base);
  put(136, 12, fields.mtime ?? 0, base);
  block.write(fields.type ?? "0", 156, 1, "latin1");
  put(157, 100, fields.linkName ?? "");
  if (format !== "v7") {
    block.write(format === "gnu" ? "ustar  \0" : "ustar\x0000", 257, "latin1");
    put(265, 32, fields.userName ?? "");
    put(297, 32, fields.groupName ?? "");
    put(329, 8, fields.major ?? 0, base);
    put(337, 8, fields.minor ?? 0, base);
    if (format !== "gnu") put(345, format === "star" ? 131 : 155, fields.prefix ?? "");
    if (format === "star") {
      put(476, 12, 0);
      put(488, 12, 0);
      block.write("tar\0", 508, "latin1");
    }
  }
  for (const [offset, value] of Object.entries(fields.raw ?? {})) bytes(value).copy(block, Number(offset));
  const sum = checksum(block, fields.signedChecksum ?? false);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
  for (const [offset, value] of Object.entries(fields.rawAfterChecksum ?? {})) bytes(value).copy(block, Number(offset));
  return block;
}

/** Fills up to whole blocks with zeros. */
export function padded(data: Bytes): Buffer {
  const source = bytes(data);
  return Buffer.concat([source, Buffer.alloc((blockBytes - (source.length % blockBytes)) % blockBytes)]);
}

/** An entry: its PAX header (if any), its header and its data. */
export function entry(fields: EntryFields): Buffer {
  const data = bytes(fields.data ?? "");
  const records: (readonly [Bytes, Bytes])[] = [...paxList(fields.pax ?? {})];
  for (const [name, value] of Object.entries(fields.xattrs ?? {})) records.push([`SCHILY.xattr.${name}`, value]);
  const parts = records.length > 0 ? [pax(records)] : [];
  return Buffer.concat([...parts, header({ size: data.length, ...fields }), padded(data)]);
}

function paxList(records: PaxRecords): readonly (readonly [Bytes, Bytes])[] {
  return Array.isArray(records) ? records : Object.entries(records as Readonly<Record<string, Bytes>>);
}

/** `<length> key=value\n`; the length counts itself. */
export function paxRecord(key: Bytes, value: Bytes): Buffer {
  const rest = Buffer.concat([Buffer.from(" "), bytes(key), Buffer.from("="), bytes(value), Buffer.from("\n")]);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** An extended header for the next entry (`x`) or a global one (`g`). */
export function pax(records: PaxRecords, fields: HeaderFields = {}): Buffer {
  const data = Buffer.concat(paxList(records).map(([key, value]) => paxRecord(key, value)));
  return entry({ name: fields.type === "g" ? "pax_global_header" : "PaxHeaders/x", type: "x", ...fields, data });
}

/** GNU `L` (name) or `K` (link name) header for the next entry; the value gets its final NUL. */
export function gnuLong(type: "L" | "K", value: Bytes): Buffer {
  const data = Buffer.concat([bytes(value), Buffer.alloc(1)]);
  return entry({ name: "././@LongLink", type, format: "gnu", data });
}

export function file(name: Bytes, data: Bytes = "", fields: EntryFields = {}): Buffer {
  return entry({ name, data, ...fields });
}

export function directory(name: Bytes, fields: EntryFields = {}): Buffer {
  return entry({ name, type: "5", mode: 0o755, ...fields });
}

export function symbolicLink(name: Bytes, linkName: Bytes, fields: EntryFields = {}): Buffer {
  return entry({ name, type: "2", mode: 0o777, linkName, ...fields });
}

export function hardLink(name: Bytes, linkName: Bytes, fields: EntryFields = {}): Buffer {
  return entry({ name, type: "1", linkName, ...fields });
}

export function device(name: Bytes, type: "3" | "4", major: number, minor: number, fields: EntryFields = {}): Buffer {
  return entry({ name, type, major, minor, ...fields });
}

export function fifo(name: Bytes, fields: EntryFields = {}): Buffer {
  return entry({ name, type: "6", ...fields });
}

/** The whiteout of `path`: `dir/.wh.name`. */
export function whiteout(path: string, fields: EntryFields = {}): Buffer {
  const slash = path.lastIndexOf("/") + 1;
  return entry({ name: `${path.slice(0, slash)}.wh.${path.slice(slash)}`, mode: 0, ...fields });
}

/** The opaque mark of directory `path` (empty for the root). */
export function opaque(path: string, fields: EntryFields = {}): Buffer {
  return entry({ name: path === "" ? ".wh..wh..opq" : `${path}/.wh..wh..opq`, mode: 0, ...fields });
}

/** Old GNU sparse (`S`): four parts in the header, 21 in each extension block. */
export function gnuSparse(
  name: Bytes,
  realSize: number,
  parts: readonly SparsePart[],
  fields: EntryFields = {},
): Buffer {
  const pairs = parts.map((part) => {
    return Buffer.concat([numeric(part.offset, 12), numeric(bytes(part.data).length, 12)]);
  });
  const data = Buffer.concat(parts.map((part) => bytes(part.data)));
  const inHeader = pairs.slice(0, 4);
  const extensions: Buffer[] = [];
  for (let i = 4; i < pairs.length; i += 21) {
    const block = Buffer.alloc(blockBytes);
    Buffer.concat(pairs.slice(i, i + 21)).copy(block);
    block[504] = i + 21 < pairs.length ? 1 : 0;
    extensions.push(block);
  }
  const head = header({
    name,
    type: "S",
    format: "gnu",
    size: data.length,
    ...fields,
    raw: {
      386: Buffer.concat(inHeader),
      482: Buffer.from([extensions.length > 0 ? 1 : 0]),
      483: numeric(realSize, 12),
      ...fields.raw,
    },
  });
  return Buffer.concat([head, ...extensions, padded(data)]);
}

/** PAX sparse files in the three versions that GNU tar writes. */
export function paxSparse(
  version: "0.0" | "0.1" | "1.0",
  name: string,
  realSize: number,
  parts: readonly SparsePart[],
  fields: EntryFields = {},
): Buffer {
  const map = parts.map((part) => [part.offset, bytes(part.data).length] as const);
  const content = Buffer.concat(parts.map((part) => bytes(part.data)));
  const records: (readonly [Bytes, Bytes])[] = [];
  let data = content;
  if (version === "0.0") {
    records.push(["GNU.sparse.size", String(realSize)], ["GNU.sparse.numblocks", String(map.length)]);
    for (const [offset, length] of map)
      records.push(["GNU.sparse.offset", String(offset)], ["GNU.sparse.numbytes", String(length)]);
  } else if (version === "0.1") {
    records.push(["GNU.sparse.size", String(realSize)], ["GNU.sparse.numblocks", String(map.length)]);
    records.push(["GNU.sparse.map", map.flat().join(",")], ["GNU.sparse.name", name]);
  } else {
    records.push(["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"]);
    records.push(["GNU.sparse.name", name], ["GNU.sparse.realsize", String(realSize)]);
    data = Buffer.concat([padded(`${[map.length, ...map.flat()].join("\n")}\n`), content]);
  }
  const shown = version === "0.0" ? name : `GNUSparseFile.0/${name}`;
  return entry({ name: shown, ...fields, data, pax: [...records, ...paxList(fields.pax ?? {})] });
}

/** The two zero blocks that end an archive. */
export function end(): Buffer {
  return Buffer.alloc(2 * blockBytes);
}

/** A whole archive. */
export function tar(...records: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...records, end()]);
}
