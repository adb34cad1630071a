import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildTestDisk, type TestBuildOptions } from "./disk-maker.ts";
import { type MadeImage, makeImage } from "./image-maker.ts";
import { device, directory, file, hardLink, opaque, paxSparse, symbolicLink, tar, whiteout } from "./tar-maker.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** Small disks whose bytes must not change without a new format version. Their layers are stored as they are: zlib may change. */
export type GoldenDisk = {
  readonly name: string;
  /** Tars of each image's layers, from the bottom. */
  readonly images: readonly (readonly Buffer[])[];
  readonly options?: TestBuildOptions;
};

export const goldenFile = join(import.meta.dirname, "../corpus/golden-disks.json");

/** What `goldenFile` holds: the digests under the format version that they are of. */
export type GoldenDigests = { readonly formatVersion: string; readonly disks: Readonly<Record<string, string>> };

const base = tar(
  directory("etc", { mtime: 1_600_000_000 }),
  file("etc/passwd", "root:x:0:0::/:/bin/sh\n", { mtime: 1_600_000_001, pax: { mtime: "1600000001.25" } }),
  directory("opt/", { mode: 0o2750, uid: 10, gid: 70_000, xattrs: { "user.note": "below" } }),
  file("opt/tool", Buffer.alloc(10_000, "tool"), { mode: 0o4755 }),
  hardLink("opt/tool-too", "opt/tool"),
  symbolicLink("link", "opt/tool"),
  device("null", "3", 1, 3),
  file("empty"),
);
const above = tar(
  file("opt/conf/app", "conf\n"),
  file("opt/copy", Buffer.alloc(10_000, "tool")),
  whiteout("etc/passwd"),
  file("new", "n", { xattrs: { "user.a": "1", "security.b": "2" } }),
);
const hiding = tar(directory("opt", { mode: 0o700 }), opaque("opt"), file("opt/one", "1"), whiteout("link"));
const sparse = tar(
  paxSparse("1.0", "sparse", 20_000_000, [
    { offset: 0, data: "begin" },
    { offset: 9_000_000, data: "middle" },
    { offset: 19_999_997, data: "end" },
  ]),
  paxSparse("0.1", "hole", 5_000_000, []),
  file("many", Buffer.alloc(3_000_000, 1)),
);
const wide = tar(
  ...Array.from({ length: 700 }, (_, number) =>
    file(`wide/name-of-some-length-${number}`, `${number % 50}`, { uid: number % 3, mtime: number }),
  ),
);

export const goldenDisks: readonly GoldenDisk[] = [
  { name: "plain", images: [[base]] },
  { name: "wide-directory", images: [[wide]] },
  { name: "sparse-files", images: [[sparse]] },
  { name: "whiteouts-and-merged-trees", images: [[base, hiding], [base, above, hiding], [base]] },
  {
    name: "implied-directories-per-chain",
    images: [
      [base, above],
      [hiding, above],
    ],
  },
  { name: "blobs", images: [[base, above]], options: { blobs: true } },
  { name: "erofs-cache", images: [[base, above], [sparse]], options: { erofsCache: true } },
];

/** Builds a golden disk; its digest. */
export async function goldenDigest(scope: Scope, { images, options }: GoldenDisk): Promise<string> {
  const folder = await temporaryDirectory(scope, "golden");
  const layout = join(folder, "layout");
  const made: MadeImage[] = [];
  for (const layers of images) {
    made.push(await makeImage(layout, { layers: layers.map((layer) => ({ tar: layer, compression: "none" })) }));
  }
  const { path } = await buildTestDisk(folder, layout, made, options);
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}
