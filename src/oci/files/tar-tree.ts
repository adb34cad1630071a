import type { FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import { OciError } from "../oci-error.ts";
import { type FileTree, type OpenFile, openRegularFile, readAt, readRange } from "./file-tree.ts";
import { invalid, parsePaxRecords, parseTarHeader, type TarHeader, tarBlockBytes } from "./tar-header.ts";

type Member =
  | { readonly kind: "file"; readonly offset: number; readonly size: number }
  | { readonly kind: "link"; readonly target: string };

/** A name or a set of PAX records longer than this is no image archive's. */
const maxExtensionBytes = 1 << 20;
const maxLinks = 16;

/** The members of an uncompressed tar file, read in place: nothing is ever extracted. */
export class TarTree implements FileTree {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(path: string, handle: FileHandle, members: ReadonlyMap<string, Member>) {
    this.path = path;
    this.#handle = handle;
    this.#members = members;
  }

  /** Reads the headers of all members. Throws `OciError` (file-unreadable, invalid-archive, limit-exceeded). */
  static async open(path: string, maxMembers: number): Promise<TarTree> {
    const file = await openRegularFile(path);
    if (!file) throw new OciError("file-unreadable", `There is no file ${path}`);
    try {
      return new TarTree(path, file.handle, await readMembers(file.handle, file.size, path, maxMembers));
    } catch (error) {
      await file.handle.close();
      throw error;
    }
  }

  has(path: string): boolean {
    return this.#members.has(normalName(path));
  }

  async open(path: string): Promise<OpenFile | undefined> {
    let name = normalName(path);
    for (let hop = 0; hop < maxLinks; hop++) {
      const member = this.#members.get(name);
      if (!member) return undefined;
      if (member.kind === "file") {
        const { offset, size } = member;
        return {
          size,
          read: (signal, range) =>
            readRange(this.#handle, this.path, offset + (range?.offset ?? 0), range?.length ?? size, signal),
          close: async () => {},
        };
      }
      name = member.target;
    }
    throw invalid(this.path, `${path} is a link through too many links`);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

async function readMembers(
  handle: FileHandle,
  fileSize: number,
  path: string,
  maxMembers: number,
): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const block = Buffer.alloc(tarBlockBytes);
  let pending = new Map<string, string>();
  let count = 0;
  for (let offset = 0; offset < fileSize; ) {
    const bytesRead = await readAt(handle, path, block, offset);
    if (offset === 0) refuseCompressed(block.subarray(0, bytesRead), path);
    if (bytesRead < tarBlockBytes) throw invalid(path, "it is cut off inside a header");
    const header = parseTarHeader(block, path);
    if (!header) break;
    offset += tarBlockBytes;
    const size = isExtension(header) ? header.size : sizeOf(header, pending, path);
    if (offset + size > fileSize) throw invalid(path, `it is cut off inside ${pending.get("path") ?? header.name}`);
    count++;
    if (count > maxMembers) {
      const message = `${path} has more than ${maxMembers} members (--limit archive-members=N)`;
      throw new OciError("limit-exceeded", message);
    }
    if (isExtension(header)) {
      await readExtension(handle, path, header, offset, pending);
    } else {
      addMember(members, header, pending, offset, size, path);
      pending = new Map();
    }
    offset += Math.ceil(size / tarBlockBytes) * tarBlockBytes;
  }
  return members;
}

function isExtension({ type }: TarHeader): boolean {
  return type === "x" || type === "g" || type === "L" || type === "K";
}

/** Takes what a PAX or GNU extension says of the next member into `pending`. */
async function readExtension(
  handle: FileHandle,
  path: string,
  header: TarHeader,
  offset: number,
  pending: Map<string, string>,
): Promise<void> {
  // Global records say nothing that finding members needs.
  if (header.type === "g") return;
  if (header.size > maxExtensionBytes) throw invalid(path, "a member has an extended header of more than 1 MiB");
  const bytes = Buffer.alloc(header.size);
  if ((await readAt(handle, path, bytes, offset)) < bytes.length) throw invalid(path, "it is cut off");
  if (header.type === "x") {
    for (const [key, value] of parsePaxRecords(bytes, path)) pending.set(key, value);
  } else {
    const end = bytes.indexOf(0);
    pending.set(header.type === "L" ? "path" : "linkpath", bytes.toString("utf8", 0, end < 0 ? bytes.length : end));
  }
}

function sizeOf(header: TarHeader, pending: ReadonlyMap<string, string>, path: string): number {
  const isLink = header.type === "1" || header.type === "2";
  const text = pending.get("size");
  if (text === undefined) return isLink ? 0 : header.size;
  const size = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(size)) throw invalid(path, "a PAX size is no number");
  return size;
}

function addMember(
  members: Map<string, Member>,
  header: TarHeader,
  pending: ReadonlyMap<string, string>,
  offset: number,
  size: number,
  path: string,
): void {
  const name = normalName(pending.get("path") ?? header.name);
  const link = pending.get("linkpath") ?? header.linkName;
  // As when unpacking, the last member of a name counts.
  if (header.type === "0") {
    const isSparse = [...pending.keys()].some((key) => key.startsWith("GNU.sparse."));
    if (isSparse) throw invalid(path, `${name} is stored as a sparse file; make the archive without --sparse`);
    members.set(name, { kind: "file", offset, size });
  } else if (header.type === "1") {
    members.set(name, { kind: "link", target: normalName(link) });
  } else if (header.type === "2") {
    members.set(name, { kind: "link", target: normalName(posix.join(posix.dirname(name), link)) });
  } else if (header.type === "S") {
    throw invalid(path, `${name} is stored as a sparse file; make the archive without --sparse`);
  }
}

/** Names are only keys here, so `..` and absolute names can do no harm. */
function normalName(name: string): string {
  return posix.normalize(`/${name}`).replace(/\/+$/, "");
}

function refuseCompressed(block: Buffer, path: string): void {
  const kinds = [
    { name: "gzip", magic: [0x1f, 0x8b] },
    { name: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
    { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58] },
    { name: "bzip2", magic: [0x42, 0x5a, 0x68] },
  ];
  const kind = kinds.find(({ magic }) => magic.every((byte, index) => block[index] === byte));
  if (kind) throw invalid(path, `it is compressed with ${kind.name}; decompress it first`);
}
