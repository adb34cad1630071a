import { gzipSync, constants as zlib, zstdCompressSync } from "node:zlib";
import { bytes, file, tar } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";
import { gzipType, simple, zstdType } from "./parts.ts";

function gzipMembers(data: Buffer, ...cuts: number[]): Buffer {
  const ends = [...cuts, data.length];
  return Buffer.concat(ends.map((end, i) => gzipSync(data.subarray(i === 0 ? 0 : ends[i - 1], end))));
}

function skippableFrame(data: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, bytes(data)]);
}

/** How layers are stored. */
export const compressionLayers: readonly EdgeLayer[] = [
  { name: "gzip", tar: simple, stored: () => gzipSync(simple()), mediaType: gzipType },
  { name: "gzip-members", tar: simple, stored: () => gzipMembers(simple(), 100, 600, 601), mediaType: gzipType },
  {
    name: "estargz-like",
    tar: () => tar(file("a", "a"), file("stargz.index.json", "{}")),
    stored: () => gzipMembers(tar(file("a", "a"), file("stargz.index.json", "{}")), 512, 1024, 2048),
    mediaType: gzipType,
  },
  {
    name: "gzip-empty-member",
    tar: simple,
    stored: () => Buffer.concat([gzipSync(simple()), gzipSync("")]),
    mediaType: gzipType,
  },
  { name: "zstd", tar: simple, stored: () => zstdCompressSync(simple()), mediaType: zstdType },
  {
    name: "zstd-chunked",
    tar: simple,
    stored: () => {
      const checksum = { params: { [zlib.ZSTD_c_checksumFlag]: 1 } };
      const data = simple();
      return Buffer.concat([
        zstdCompressSync(data.subarray(0, 700)),
        skippableFrame("manifest"),
        zstdCompressSync(data.subarray(700), checksum),
        skippableFrame(""),
      ]);
    },
    mediaType: zstdType,
  },
  { name: "media-type-says-gzip", tar: simple, stored: simple, mediaType: gzipType },
  { name: "media-type-says-plain", tar: simple, stored: () => gzipSync(simple()) },
];
