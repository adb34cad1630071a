import { Buffer } from "node:buffer";

/** One entry of a generated layer. Names end in `/` for directories and have at most 255 bytes. */
export type TarEntry = {
  readonly name: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink";
  readonly sizeBytes?: number;
  readonly linkName?: string;
  readonly mode?: number;
  readonly mtimeSeconds?: number;
};

const typeFlags = { file: "0", hardlink: "1", symlink: "2", directory: "5" } as const;

/** A ustar header block (POSIX.1-1988), 0:0. Throws on a name that ustar cannot hold. */
export function tarHeader(entry: TarEntry): Buffer {
  const header = Buffer.alloc(512);
  writeTarHeader(header, 0, entry);
  return header;
}

/** The same into 512 zero bytes at `offset` of `target`. */
export function writeTarHeader(target: Buffer, offset: number, entry: TarEntry): void {
  const [prefix, name] = splitName(entry.name);
  target.write(name, offset, "latin1");
  octal(target, offset + 100, 7, entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644));
  octal(target, offset + 108, 7, 0);
  octal(target, offset + 116, 7, 0);
  octal(target, offset + 124, 11, entry.sizeBytes ?? 0);
  octal(target, offset + 136, 11, entry.mtimeSeconds ?? 1_700_000_000);
  target.write("        ", offset + 148, "latin1");
  target.write(typeFlags[entry.type], offset + 156, "latin1");
  if (entry.linkName !== undefined) target.write(entry.linkName, offset + 157, "latin1");
  target.write("ustar\x0000", offset + 257, "latin1");
  if (prefix !== "") target.write(prefix, offset + 345, "latin1");
  let sum = 0;
  for (let index = offset; index < offset + 512; index++) sum += target[index];
  octal(target, offset + 148, 6, sum);
  target[offset + 154] = 0;
  target[offset + 155] = 0x20;
}

/** Bytes that fill a body of `sizeBytes` to whole 512-byte records. */
export function tarPadding(sizeBytes: number): number {
  return (512 - (sizeBytes % 512)) % 512;
}

/** The two zero records that end a tar stream. */
export const tarEnd: Buffer = Buffer.alloc(1024);

function octal(target: Buffer, offset: number, digits: number, value: number): void {
  target.write(value.toString(8).padStart(digits, "0"), offset, "latin1");
}

function splitName(name: string): [prefix: string, name: string] {
  if (name.length <= 100) return ["", name];
  const cut = name.indexOf("/", name.length - 101);
  if (cut < 1 || cut > 155 || cut === name.length - 1) throw new Error(`ustar cannot hold the name ${name}`);
  return [name.slice(0, cut), name.slice(cut + 1)];
}
