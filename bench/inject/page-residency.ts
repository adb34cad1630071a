import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import koffi from "koffi";
import { decodeDeviceNumber } from "../../src/runtime/host/device-number.ts";
import { openDiskSource } from "../../src/runtime/host/disk-source.ts";

const pageBytes = 4096;
const bdiFolder = "/sys/class/bdi";
/** asm-generic/mman-common.h. */
const protRead = 1;
const mapShared = 1;

/** Bytes of a file that are in the page cache, page by page (mincore(2)). */
function residentPages(path: string): Uint8Array {
  const library = koffi.load(null);
  const mmap = library.func(
    "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  const mincore = library.func("int mincore(void *address, size_t length, _Out_ uint8_t *pages)");
  const munmap = library.func("int munmap(void *address, size_t length)");
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const address: unknown = mmap(null, size, protRead, mapShared, file, 0);
    try {
      const pages = new Uint8Array(Math.ceil(size / pageBytes));
      if (mincore(address, size, pages) !== 0) throw new Error(`mincore of ${path} fails`);
      return pages.map((page) => page & 1);
    } finally {
      munmap(address, size);
    }
  } finally {
    closeSync(file);
  }
}

/** What of a disk's file is in the page cache. */
export type Residency = {
  /** Bytes of files in layers. */
  readonly layerBytes: number;
  /** All else: metadata, and the documents of images. */
  readonly otherBytes: number;
};

/** Which bytes of a disk have been read since the page cache was dropped, by whomever. */
export async function residencyOf(path: string): Promise<Residency> {
  const pages = residentPages(path);
  const { disk } = await openDiskSource(path);
  const { files, index } = disk;
  await disk.close();
  const documents = new Set(
    index.images.flatMap(({ target, manifest, config }) => [target, manifest, config].map(({ digest }) => digest)),
  );
  let layerPages = 0;
  for (let content = 0; content < files.contentCount; content++) {
    const isDocument = !files.isLarge(content) && documents.has(`sha256:${files.smallDigest(content).toString("hex")}`);
    if (isDocument) continue;
    const first = files.firstBlock(content);
    for (let block = 0; block < files.blockCount(content); block++) layerPages += pages[first + block] ?? 0;
  }
  const all = pages.reduce((sum, page) => sum + page, 0);
  return { layerBytes: layerPages * pageBytes, otherBytes: (all - layerPages) * pageBytes };
}

/**
 * Does `work` while the kernel reads nothing ahead, so that the page cache holds only what was asked for: from no loop device, nor from the
 * file system of `path`.
 */
export async function withoutReadahead<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  const { major, minor } = decodeDeviceNumber(statSync(path).dev);
  const devices = readdirSync(bdiFolder).filter((name) => name === `${major}:${minor}` || name.startsWith("7:"));
  const files = devices.map((name) => `${bdiFolder}/${name}/read_ahead_kb`);
  const before = files.map((file) => readFileSync(file, "utf8"));
  for (const file of files) writeFileSync(file, "0");
  try {
    return await work();
  } finally {
    for (const [i, file] of files.entries()) writeFileSync(file, before[i] ?? "128");
  }
}
