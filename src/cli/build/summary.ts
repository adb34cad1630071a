import type { BuildReport } from "../../disk/build/contract.ts";
import { formatPlatform } from "../../oci/platform.ts";
import { formatBytes, formatCount, formatSeconds } from "../format.ts";

/** What `--json` prints for each disk. */
export type DiskReport = Omit<BuildReport, "seconds"> & {
  readonly seconds: BuildReport["seconds"] & {
    /** Looking the images up, and what the older disk took longer; before the build and not part of `total`. */
    readonly resolve: number;
  };
};

export function withResolveSeconds(report: BuildReport, resolve: number): DiskReport {
  return { ...report, seconds: { resolve, ...report.seconds } };
}

/** A few lines for people: what is on the disk, what it cost, what it saved. */
export function summary(report: DiskReport): string {
  const { bytes, seconds } = report;
  const stored = bytes.contents + bytes.deduplicated;
  const saved = stored === 0 ? "" : ` (${Math.round((bytes.deduplicated / stored) * 100)}% of all file bytes)`;
  const rows: [string, string][] = [
    ["disk", `${report.path}, ${formatBytes(report.sizeBytes)}, ${formatPlatform(report.platform)}`],
    ["id", report.id],
    ["line", `${report.line}, sequence ${report.sequence}, created ${report.created}`],
    [
      "holds",
      `${formatCount(report.images, "image")}, ${formatCount(report.layers, "layer")}, ` +
        `${formatCount(report.entries)} entries, ${formatCount(report.files)} distinct contents`,
    ],
    [
      "stored",
      [
        `contents ${formatBytes(bytes.contents)}`,
        `metadata ${formatBytes(bytes.metadata)}`,
        ...(bytes.blobs > 0 ? [`blobs ${formatBytes(bytes.blobs)}`] : []),
        ...(bytes.layerImages > 0 ? [`layer images ${formatBytes(bytes.layerImages)}`] : []),
      ].join(", "),
    ],
    ["saved", `${formatBytes(bytes.deduplicated)} stored once instead of again${saved}`],
    [
      "read",
      `${formatBytes(bytes.fetched)} of compressed layers` +
        (bytes.reused > 0 ? `; ${formatBytes(bytes.reused)} taken from the older disk` : ""),
    ],
    ...report.dropped.map(({ what, why, count }): [string, string] => [
      "dropped",
      `${formatCount(count)} × ${what}: ${why}`,
    ]),
    [
      "took",
      `${formatSeconds(seconds.resolve + seconds.total)}: resolve ${formatSeconds(seconds.resolve)}, ` +
        `layers ${formatSeconds(seconds.layers)}, metadata ${formatSeconds(seconds.metadata)}, ` +
        `sync ${formatSeconds(seconds.sync)}`,
    ],
  ];
  return rows.map(([name, text]) => `${name.padEnd(8)}${text}\n`).join("");
}
