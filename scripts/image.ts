import { existsSync, readdirSync } from "node:fs";
import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./bundle/compile.ts";
import { layoutName, makeImages, type PartSize, sbomName } from "./image/make-image.ts";
import { pinsFile } from "./image/pins.ts";
import { refreshPins } from "./image/refresh-pins.ts";

const usage = `npm run image [-- OPTION...]   makes the agent's container image for amd64 and arm64, an OCI layout, and its SBOM

  --out DIR        folder for both; default dist-image
  --refresh-pins   pins the newest packages of Debian and the Node of .node-version, and makes no image

SOURCE_DATE_EPOCH: seconds since 1970 that all files and documents show; default: when the packages were pinned
`;

/** Makes the image in `out`, whose place it takes when all is there; an image that was there before is replaced. */
async function image(out: string): Promise<void> {
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, layoutName, "oci-layout")))
    throw new Error(`${out} holds something else than an image; name another folder with --out`);
  await using scope = new AsyncDisposableStack();
  const partial = await mkdtemp(`${out}.partial-`);
  scope.defer(() => rm(partial, { recursive: true, force: true }));
  await chmod(partial, 0o755);
  const { version, index, sizes } = await makeImages(scope, partial, sourceDate());
  await rm(out, { recursive: true, force: true });
  await rename(partial, out);
  const lines = Object.entries(sizes).flatMap(([architecture, parts]) => sizeLines(architecture, parts));
  process.stdout.write(`${lines.join("\n")}\n\n`);
  process.stdout.write(`oci:${join(out, layoutName)}:${version}  ${index.digest}\n${join(out, sbomName)}\n`);
}

function sourceDate(): number | undefined {
  const text = process.env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,11}$/.test(text)) throw new Error(`SOURCE_DATE_EPOCH is ${text}, which is no number of seconds`);
  return Number(text);
}

function sizeLines(architecture: string, parts: readonly PartSize[]): string[] {
  const total = (field: "bytes" | "compressedBytes") => parts.reduce((sum, part) => sum + part[field], 0);
  const all = [...parts, { part: "all", bytes: total("bytes"), compressedBytes: total("compressedBytes") }];
  return all.map(
    ({ part, bytes, compressedBytes }) =>
      `${architecture}  ${part.padEnd(10)}${megabytes(bytes)} MB ${megabytes(compressedBytes)} MB compressed`,
  );
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1).padStart(7);
}

const { values } = parseArgs({
  options: {
    out: { type: "string", default: join(root, "dist-image") },
    "refresh-pins": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
} else if (values["refresh-pins"]) {
  await using scope = new AsyncDisposableStack();
  const { debian, node } = await refreshPins(scope);
  for (const { name, architecture, version } of debian) process.stdout.write(`${name}:${architecture} ${version}\n`);
  for (const { name, version } of Object.values(node)) process.stdout.write(`${name} ${version}\n`);
  process.stdout.write(`${pinsFile}\n`);
} else {
  if (values.out === "") throw new Error(usage);
  await image(resolve(values.out));
}
