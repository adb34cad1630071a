import koffi from "koffi";

/** Extended attributes as the kernel gives them, byte for byte. Node has no calls for them. */

type List = (path: Buffer, list: Buffer, size: number) => number;
type Get = (path: Buffer, name: Buffer, value: Buffer, size: number) => number;

/** Limits of the kernel: `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` of linux/limits.h. */
const listMax = 65_536;
const valueMax = 65_536;

let calls: { list: List; get: Get } | undefined;
const list = Buffer.alloc(listMax);
const value = Buffer.alloc(valueMax);

/** Names (as Latin-1, so that each byte is one character) and values of `path` itself, links not followed. */
export function readXattrs(path: Buffer): Map<string, Buffer> {
  calls ??= load();
  const end = Buffer.from([0]);
  const cPath = Buffer.concat([path, end]);
  const length = calls.list(cPath, list, listMax);
  if (length < 0) throw failure("llistxattr", path);
  const found = new Map<string, Buffer>();
  for (const name of list.toString("latin1", 0, length).split("\0").slice(0, -1)) {
    const size = calls.get(cPath, Buffer.from(`${name}\0`, "latin1"), value, valueMax);
    if (size < 0) throw failure(`lgetxattr ${name}`, path);
    found.set(name, Buffer.from(value.subarray(0, size)));
  }
  return found;
}

function load(): { list: List; get: Get } {
  const libc = koffi.load("libc.so.6");
  return {
    list: libc.func("long llistxattr(void *path, void *list, size_t size)"),
    get: libc.func("long lgetxattr(void *path, void *name, void *value, size_t size)"),
  };
}

function failure(call: string, path: Buffer): Error {
  return new Error(`${call} ${path.toString("latin1")}: errno ${koffi.errno()}`);
}
