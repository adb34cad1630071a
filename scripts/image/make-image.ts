import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { addLayer, makeImage, makeIndex, tagInLayout } from "../../test/support/image-maker.ts";
import { type Scope, temporaryDirectory } from "../../test/support/temporary.ts";
import { compileProgram, root } from "../bundle/compile.ts";
import { type BundledPackage, bundledPackages, joinLicences } from "../bundle/packages.ts";
import { type Contents, imageContents, programFolder } from "./contents.ts";
import { fetchParts } from "./fetch-parts.ts";
import { type Architecture, architectures, type Pins, readPins } from "./pins.ts";
import { sbom } from "./sbom.ts";
import { nodeSettings } from "./settings.ts";
import { writeTar } from "./tar-writer.ts";

/** Bytes of a part of an image: its files, its archive compressed. */
export type PartSize = { readonly part: string; readonly bytes: number; readonly compressedBytes: number };

export type MadeImages = {
  /** Tag in the layout. */
  readonly version: string;
  readonly index: Descriptor;
  readonly sizes: Readonly<Record<Architecture, readonly PartSize[]>>;
};

/** Names in the folder that `makeImages` fills. */
export const layoutName = "layout";
export const sbomName = "nodewarm.spdx.json";

/** Where compiled code is kept: the folder of the node that pods of the agent have anyway, since a container's own is gone with it. */
const compileCache = "/var/lib/nodewarm/compile-cache";

const compressionLevel = 9;

/**
 * Makes the image of both architectures in the folder `out` (absent or empty), as an OCI layout and its bill of materials. The same sources
 * and pins give the same bytes, also of the compressed layers while Node is the same.
 */
export async function makeImages(scope: Scope, out: string, time: number | undefined): Promise<MadeImages> {
  const pins = readPins();
  const timeSeconds = time ?? snapshotSeconds(pins);
  const version: string = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
  const program = await temporaryDirectory(scope, "program");
  const bundled = bundledPackages(await compileProgram(program));
  const layout = join(out, layoutName);
  await mkdir(layout, { recursive: true });
  const make = async (architecture: Architecture) => {
    const parts = await fetchParts(scope, pins, architecture);
    const contents = imageContents(architecture, parts, { folder: program, licences: joinLicences(bundled) });
    return oneImage(layout, architecture, contents, version, timeSeconds);
  };
  // Side by side: most of it is compression, each with a thread of its own.
  const [amd64, arm64] = await Promise.all([make("amd64"), make("arm64")]);
  const images = { amd64: amd64.manifest, arm64: arm64.manifest };
  const index = await makeIndex(
    layout,
    Object.keys(architectures).map((name) => images[name as Architecture]),
  );
  await tagInLayout(layout, index, version);
  const input = { version, timeSeconds, pins, bundled: withHashes(bundled), index, images };
  await writeFile(join(out, sbomName), `${JSON.stringify(sbom(input), undefined, 2)}\n`);
  return { version, index, sizes: { amd64: amd64.sizes, arm64: arm64.sizes } };
}

async function oneImage(
  layout: string,
  architecture: Architecture,
  contents: Contents,
  version: string,
  timeSeconds: number,
): Promise<{ readonly manifest: Descriptor; readonly sizes: readonly PartSize[] }> {
  const created = new Date(timeSeconds * 1000).toISOString().replace(/\.\d+/, "");
  const sizes: PartSize[] = [];
  const layers = [];
  for (const [part, entries] of Object.entries(contents)) {
    const layer = await addLayer(layout, { tar: writeTar(entries, timeSeconds), level: compressionLevel });
    layers.push(layer);
    const bytes = contents[part as keyof Contents].reduce(
      (sum, entry) => sum + ("content" in entry ? entry.content.length : 0),
      0,
    );
    sizes.push({ part, bytes, compressedBytes: layer.descriptor.size });
  }
  const { environment, options } = nodeSettings(`/${programFolder}`, compileCache);
  const labels = {
    "org.opencontainers.image.title": "nodewarm",
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.licenses": "Apache-2.0",
  };
  const run = {
    User: "0:0",
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...environment],
    Entrypoint: ["/usr/bin/node", ...options, `/${programFolder}/nodewarm.mjs`],
    WorkingDir: "/",
    Labels: labels,
  };
  const platform = { os: "linux", architecture };
  const { manifest } = await makeImage(layout, { layers, platform, created, run, manifest: { annotations: labels } });
  return { manifest, sizes };
}

/** The time of the pins: later than all that is in the image but the bundle, and the same until they change. */
function snapshotSeconds({ snapshot }: Pins): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(snapshot)?.map(Number) ?? [];
  return Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second) / 1000;
}

function withHashes(bundled: readonly BundledPackage[]) {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return bundled.map((each) => {
    const { version, integrity } = packages[`node_modules/${each.name}`] ?? {};
    if (version !== each.version || typeof integrity !== "string")
      throw new Error(`package-lock.json has no hash of ${each.name} ${each.version}; run "npm ci"`);
    return { ...each, integrity };
  });
}
