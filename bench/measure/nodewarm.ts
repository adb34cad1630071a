import { join } from "node:path";
import { z } from "zod";
import { type Bundle, makeBundle } from "./bundle.ts";
import { dropPageCache, measureProgram, type ProgramUsage } from "./measured-run.ts";

const whole = z.number().int().nonnegative();
const diskReport = z.object({
  path: z.string(),
  id: z.string(),
  sizeBytes: whole,
  layers: whole,
  entries: whole,
  files: whole,
  bytes: z.object({
    fetched: whole,
    reused: whole,
    deduplicated: whole,
    contents: whole,
    blobs: whole,
    layerImages: whole,
    metadata: whole,
  }),
  seconds: z.object({ layers: z.number(), metadata: z.number(), sync: z.number(), total: z.number() }),
});

/** What `nodewarm build --json` says of a disk. */
export type DiskReport = z.infer<typeof diskReport>;
export type BuildRun = { readonly usage: ProgramUsage; readonly disk: DiskReport };

const folder = join(import.meta.dirname, "../../dist");
let made: Promise<Bundle> | undefined;

/** Made once in a process. */
function bundle(): Promise<Bundle> {
  made ??= makeBundle(folder);
  return made;
}

/** Builds a disk of the images from a registry on `host`, as a process of its own; the page cache is dropped before. */
export async function measureBuild(
  references: readonly string[],
  options: { readonly output: string; readonly host: string; readonly more?: readonly string[] },
): Promise<BuildRun> {
  const { program } = await bundle();
  await dropPageCache();
  const settings = ["-o", options.output, "--plain-http", options.host, "--json", "--progress", "none"];
  const args = ["build", ...settings, ...(options.more ?? []), ...references];
  const usage = await measureProgram(program, args);
  const [disk] = z.object({ disks: z.array(diskReport).length(1) }).parse(JSON.parse(usage.stdout)).disks;
  return { usage, disk };
}

/** Has the program's Node fetch, hash and write the blobs of one image, and nothing else, with a cold page cache and Node's own settings. */
export async function measureBareFetch(host: string, name: string, output: string): Promise<ProgramUsage> {
  const { node } = await bundle();
  const [repository = "", tag = ""] = name.split(":");
  await dropPageCache();
  return measureProgram(node, [join(import.meta.dirname, "bare-fetch.mjs"), host, repository, tag, output]);
}
