import { setImmediate as nextTurn } from "node:timers/promises";
import type { Platform } from "../../oci/descriptor.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import { type BuildArguments, parseBuildArguments, pathForPlatform } from "../build/arguments.ts";
import { collectImages, type ImageList } from "../build/image-list.ts";
import { OpeningDisk } from "../build/opening-disk.ts";
import { checkOutputPath, explainSystemError } from "../build/output-path.ts";
import { closeImages, type OpenImage, openImages, resolveImages } from "../build/resolve-images.ts";
import { type DiskReport, summary, withResolveSeconds } from "../build/summary.ts";
import type { CommandIo } from "../command.ts";
import { createProgress, type Progress } from "../progress/progress.ts";
import { version } from "../version.ts";

/** Turns of the event loop in which a connection is made and the request goes out. */
const turnsToRequest = 4;

/** `nodewarm build`: from names of images to disks. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const given = parseBuildArguments(args, io.env);
  if (given === undefined) {
    const { buildHelp } = await import("../build/help.ts");
    io.stdout.write(buildHelp());
    return 0;
  }
  for (const platform of given.platforms) await checkOutputPath(pathForPlatform(given.output, platform));
  const list = await collectImages(given, io);
  const progress = createProgress(given.progress, io.stderr, io.env);
  try {
    const reports = await buildDisks(given, list, progress, io);
    progress.close();
    io.stdout.write(
      given.json ? `${JSON.stringify({ disks: reports }, undefined, 2)}\n` : reports.map(summary).join("\n"),
    );
    return 0;
  } finally {
    progress.close();
  }
}

async function buildDisks(
  given: BuildArguments,
  list: ImageList,
  progress: Progress,
  io: CommandIo,
): Promise<readonly DiskReport[]> {
  const { imageOpener } = await import("../../oci/open-image.ts");
  const opener = await imageOpener({
    authfile: given.authFile,
    plainHttp: given.plainHttp,
    caFiles: given.caFile === undefined ? [] : [given.caFile],
    hostsDir: given.hostsDirectory,
    limits: given.limits,
    environment: io.env,
    userAgent: `nodewarm/${version()}`,
  });
  const openOld = (platform: Platform): OpeningDisk | undefined =>
    given.from === undefined ? undefined : new OpeningDisk(pathForPlatform(given.from, platform), io.signal);
  // It is read and checked, and threads start that copy from it, while registries answer.
  const firstOld = openOld(given.platforms[0]);
  let images: readonly OpenImage[] = [];
  try {
    images = await openImages(list.images, (argument) => opener.open(argument));
    // All are looked up before the first disk is built: an image that a platform lacks is told at once.
    const planned: PlannedDisk[] = [];
    for (const platform of given.platforms) {
      const plan = planDisk(platform, images, progress, io.signal);
      await Promise.all([plan, asked().then(() => import("../../disk/build/build-disk.ts"))]);
      planned.push(await plan);
    }
    const reports: DiskReport[] = [];
    for (const [i, disk] of planned.entries()) {
      const old = i === 0 ? firstOld : openOld(disk.platform);
      try {
        reports.push(await buildPlanned(disk, old, given, list.line, progress, io.signal));
      } finally {
        await old?.close();
      }
    }
    return reports;
  } finally {
    await firstOld?.close();
    await closeImages(images);
    await opener.close();
  }
}

/** By then a registry nearby is connected and has the first request: what is loaded now is loaded while it answers. */
async function asked(): Promise<void> {
  for (let turns = 0; turns < turnsToRequest; turns++) await nextTurn();
}

type PlannedDisk = {
  readonly platform: Platform;
  readonly images: readonly ResolvedImage[];
  readonly resolveMs: number;
};

async function planDisk(
  platform: Platform,
  sources: readonly OpenImage[],
  progress: Progress,
  signal: AbortSignal,
): Promise<PlannedDisk> {
  const startedMs = performance.now();
  progress.resolving(0, sources.length);
  const onResolved = (done: number) => progress.resolving(done, sources.length);
  const images = await resolveImages(sources, platform, { signal, onResolved });
  return { platform, images, resolveMs: performance.now() - startedMs };
}

async function buildPlanned(
  { platform, images, resolveMs }: PlannedDisk,
  old: OpeningDisk | undefined,
  given: BuildArguments,
  line: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<DiskReport> {
  const { buildDisk } = await import("../../disk/build/build-disk.ts");
  const output = pathForPlatform(given.output, platform);
  progress.begin({ path: output, ...layerTotals(images) });
  try {
    const startedMs = performance.now();
    const from = await old?.opened();
    const untilReadyMs = resolveMs + performance.now() - startedMs;
    const report = await buildDisk({
      images,
      platform,
      output,
      blobs: given.blobs,
      erofsCache: given.erofsCache,
      from,
      line,
      sequence: given.sequence,
      createdSeconds: given.createdSeconds,
      limits: given.limits,
      jobs: given.jobs,
      builder: `nodewarm/${version()}`,
      signal,
      onEvent: (event) => progress.event(event),
    });
    return withResolveSeconds(report, Math.round(untilReadyMs) / 1000);
  } catch (error) {
    throw explainSystemError(error, output);
  }
}

/** Distinct layers and their compressed bytes. */
function layerTotals(images: readonly ResolvedImage[]): { layers: number; bytes: number } {
  const sizes = new Map(
    images.flatMap(({ layers }) => layers.map(({ diffID, descriptor }) => [diffID, descriptor.size])),
  );
  return { layers: sizes.size, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}
