import type { DiskIndex, IndexImage } from "../../disk/reader/disk-index.ts";
import type { DiskSummary, LayerSummary } from "../../disk/reader/disk-summary.ts";
import { formatPlatform } from "../../oci/platform.ts";
import { formatBytes, formatCount, shortDigest, shortImage } from "../format.ts";
import { renderTable } from "../table.ts";

/** What `nodewarm inspect` shows people. */
export function describeDisk(path: string, index: DiskIndex, summary: DiskSummary): string {
  const parts = [facts(path, index, summary)];
  if (index.images.length > 0) parts.push(imageTable(index.images, summary));
  if (summary.layers.length > 0) parts.push(layerTable(index.images, summary.layers));
  return parts.join("\n");
}

/** What `nodewarm inspect --json` prints: the index, and beside it what the disk holds. */
export function describeDiskJson(path: string, index: DiskIndex, summary: DiskSummary): unknown {
  const { layers, ...totals } = summary;
  return { path, ...index, ...totals, layers };
}

function facts(path: string, index: DiskIndex, summary: DiskSummary): string {
  const { bytes, deduplicatedBytes: saved } = summary;
  const all = bytes.contents + saved;
  const share = all === 0 ? "" : ` (${Math.round((saved / all) * 100)}% of all file bytes)`;
  const stored = [
    `contents ${formatBytes(bytes.contents)}`,
    `metadata ${formatBytes(bytes.metadata)}`,
    `blobs ${formatBytes(bytes.blobs)}`,
  ];
  if (bytes.layerImages > 0) stored.push(`layer images ${formatBytes(bytes.layerImages)}`);
  stored.push(`other ${formatBytes(bytes.other)}`);
  const entries = summary.layers.reduce((sum, layer) => sum + layer.entries, 0);
  return renderTable([
    ["disk", `${path}, ${formatBytes(summary.sizeBytes)}, ${formatPlatform(index.platform)}`],
    ["id", index.id],
    ["line", `${index.line}, sequence ${index.sequence}, created ${index.created}`],
    ["format", `${index.formatVersion}, written by ${index.builder}`],
    ["kernel", `Linux ${summary.minimumKernel} or later`],
    [
      "holds",
      `${formatCount(index.images.length, "image")}, ${formatCount(summary.layers.length, "layer")}, ` +
        `${formatCount(entries)} entries, ${formatCount(summary.contents)} distinct contents` +
        `${index.blobs ? ", compressed layers" : ""}${index.erofsCache ? ", layer images" : ""}`,
    ],
    ["stored", stored.join(", ")],
    ["saved", `${formatBytes(saved)} stored once instead of again${share}`],
  ]);
}

function imageTable(images: readonly IndexImage[], { layers }: DiskSummary): string {
  const byDiffID = new Map<string, LayerSummary>(layers.map((layer) => [layer.diffID, layer]));
  const rows = images.map((image) => {
    const unpacked = image.layers.reduce((sum, { diffID }) => sum + (byDiffID.get(diffID)?.fileBytes ?? 0), 0);
    const compressed = image.layers.reduce((sum, { size }) => sum + size, 0);
    return [
      image.names.map(shortImage).join(", ") || "(no name)",
      shortDigest(image.target.digest),
      String(image.layers.length),
      formatBytes(compressed),
      formatBytes(unpacked),
      shortTree(image.tree),
    ];
  });
  return renderTable([["IMAGE", "DIGEST", "LAYERS", "COMPRESSED", "FILES", "TREE"], ...rows], [2, 3, 4]);
}

function layerTable(images: readonly IndexImage[], layers: readonly LayerSummary[]): string {
  const rows = layers.map((layer) => [
    shortDigest(layer.diffID),
    formatBytes(layer.compressedBytes),
    formatBytes(layer.fileBytes),
    formatCount(layer.entries),
    usedBy(images, layer),
  ]);
  return renderTable([["LAYER", "COMPRESSED", "FILES", "ENTRIES", "USED BY"], ...rows], [1, 2, 3]);
}

function usedBy(images: readonly IndexImage[], layer: LayerSummary): string {
  if (layer.images.length !== 1) return formatCount(layer.images.length, "image");
  const [name] = images[layer.images[0]].names;
  return name === undefined ? "1 image" : shortImage(name);
}

/** `images/0f1e2d3c4b5a`, enough to find it with `ls`. */
function shortTree(tree: string | null): string {
  return tree === null ? "none" : tree.replace(/([0-9a-f]{12})[0-9a-f]*$/, "$1…");
}
