/** What a program or library needs to start. */
export type ElfNeeds = {
  /** `e_machine`: 62 for x86-64, 183 for AArch64. */
  readonly machine: number;
  /** Path of the dynamic loader; libraries have none. */
  readonly interpreter: string | undefined;
  /** Names of libraries (`DT_NEEDED`), in their order. */
  readonly libraries: readonly string[];
};

/** Types of program headers and tags of dynamic entries (System V ABI, "Program Header", "Dynamic Section"). */
const segment = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tag = { null: 0, needed: 1, stringTable: 5 } as const;

const headerBytes = 64;
const dynamicEntryBytes = 16;

/** Reads the headers of a 64-bit little-endian ELF file. Throws when it is none. */
export function readElf(file: Buffer): ElfNeeds {
  const identity = file.subarray(0, 6);
  if (file.length < headerBytes || !identity.equals(Buffer.from("\x7fELF\x02\x01", "latin1")))
    throw new Error("no 64-bit little-endian ELF file");
  const machine = file.readUInt16LE(18);
  const table = Number(file.readBigUInt64LE(32));
  const entryBytes = file.readUInt16LE(54);
  const count = file.readUInt16LE(56);
  const segments = Array.from({ length: count }, (_, index) => {
    const at = table + index * entryBytes;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      sizeBytes: Number(file.readBigUInt64LE(at + 32)),
    };
  });
  const named = segments.find(({ type }) => type === segment.interpreter);
  const dynamic = segments.find(({ type }) => type === segment.dynamic);
  const dynamicOffset = dynamic?.offset ?? 0;
  // No more than the file has, whatever its header says.
  const dynamicBytes = Math.max(0, Math.min(dynamic?.sizeBytes ?? 0, file.length - dynamicOffset));
  const entries = Array.from({ length: Math.floor(dynamicBytes / dynamicEntryBytes) }, (_, index) => {
    const at = dynamicOffset + index * dynamicEntryBytes;
    return { tag: Number(file.readBigInt64LE(at)), value: Number(file.readBigUInt64LE(at + 8)) };
  });
  const end = entries.findIndex((entry) => entry.tag === tag.null);
  const used = end < 0 ? entries : entries.slice(0, end);
  const stringsAddress = used.find((entry) => entry.tag === tag.stringTable)?.value ?? 0;
  const holder = segments.find(
    ({ type, address, sizeBytes }) =>
      type === segment.load && stringsAddress >= address && stringsAddress < address + sizeBytes,
  );
  const strings = stringsAddress - (holder?.address ?? 0) + (holder?.offset ?? 0);
  return {
    machine,
    interpreter: named && textAt(file, named.offset),
    libraries: used.filter((entry) => entry.tag === tag.needed).map(({ value }) => textAt(file, strings + value)),
  };
}

function textAt(file: Buffer, offset: number): string {
  const end = file.indexOf(0, offset);
  if (offset >= file.length || end < 0) throw new Error("a string of the ELF file lies outside of it");
  return file.toString("latin1", offset, end);
}
