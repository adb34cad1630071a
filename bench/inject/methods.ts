import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { InjectReport } from "../../src/runtime/runtime.ts";
import { pushToRegistry } from "../../test/support/image-maker.ts";
import { mountErofs } from "../../test/support/mount.ts";
import type { TestRegistry } from "../../test/support/registry.ts";
import type { ContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { run } from "../suite/command.ts";
import { writeGoPlan } from "./go-client.ts";
import type { InjectSet } from "./image-set.ts";
import { namespace, observe, startNode, type Timeline } from "./measured-node.ts";
import { type Residency, residencyOf } from "./page-residency.ts";

export type InjectRun = Timeline & {
  readonly report: InjectReport;
  /** Bytes of the disk that the block device below its mount was asked for. */
  readonly readBytes: number;
  /** What of the disk was in the page cache afterwards: of a run with a cold one all that anybody had read. */
  readonly residency: Residency;
};

export type SlowRun = { readonly seconds: number };

/** `nodewarm inject` into a fresh containerd. A container of the last image must start afterwards. */
export async function runInject(runtime: ContainerdRuntime, program: string, set: InjectSet): Promise<InjectRun> {
  await using scope = new AsyncDisposableStack();
  return await injectInto(await startNode(scope, runtime, set.disk), program, set);
}

/** As `runInject`, into a containerd that runs already and has nothing of the set. */
export async function injectInto(daemon: ContainerdDaemon, program: string, set: InjectSet): Promise<InjectRun> {
  const tags = set.named.map(({ name }) => name);
  const readBefore = await loopReadBytes();
  const timeline = await observe(daemon, tags, [program, ...injectArguments(set, daemon)]);
  const report = reportOf(timeline.stdout);
  const readBytes = await readSince(readBefore, set);
  const residency = await residencyOf(set.disk);
  await daemon.run({ image: tags.at(-1) ?? "", namespace });
  return { ...timeline, report, readBytes, residency };
}

/** Into one containerd, with a report as JSON. */
export function injectArguments(set: InjectSet, { address }: ContainerdDaemon): string[] {
  return ["inject", set.disk, "--runtime", "containerd", "--address", address, "--json"];
}

/** Of what `nodewarm inject --json` says of one disk in one runtime. */
export function reportOf(stdout: string): InjectReport {
  const { runtimes }: { runtimes: { disks: InjectReport[] }[] } = JSON.parse(stdout);
  const report = runtimes[0]?.disks[0];
  if (report === undefined) throw new Error(`nodewarm inject reports no disk: ${stdout}`);
  return report;
}

/** The same calls by the Go client, into a fresh containerd. */
export async function runGoClient(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
  work: string,
): Promise<Timeline> {
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const mountPoint = await mountErofs(scope, set.disk);
  const plan = join(work, "plan.json");
  await writeGoPlan(plan, { disk: set.disk, mountPoint, address: daemon.address, namespace });
  const tags = set.named.map(({ name }) => name);
  // Awaited here: the end of the scope stops containerd.
  return await observe(daemon, tags, [program, plan]);
}

/** `ctr image pull` of all images, one after the other, into a fresh containerd. */
export async function runPull(runtime: ContainerdRuntime, registry: TestRegistry, set: InjectSet): Promise<SlowRun> {
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const started = performance.now();
  for (const { name } of set.named) {
    await daemon.ctr("-n", namespace, "image", "pull", "--plain-http", registryName(registry, name));
  }
  await run("sync", ["-f", daemon.root]);
  return { seconds: (performance.now() - started) / 1000 };
}

/** `ctr image import` of an archive with all images into a fresh containerd. */
export async function runImport(runtime: ContainerdRuntime, set: InjectSet): Promise<SlowRun> {
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const started = performance.now();
  await daemon.ctr("-n", namespace, "image", "import", set.archive);
  await run("sync", ["-f", daemon.root]);
  return { seconds: (performance.now() - started) / 1000 };
}

/** Pushes what the registry lacks. */
export async function pushSet(registry: TestRegistry, set: InjectSet): Promise<void> {
  for (const { name, manifest } of set.named) {
    const [repository = "", tag] = registryName(registry, name)
      .slice(registry.directHost.length + 1)
      .split(":");
    await pushToRegistry(set.layout, manifest, { origin: `http://${registry.directHost}`, repository, tag });
  }
}

export function registryName(registry: TestRegistry, name: string): string {
  return `${registry.directHost}/${name.slice(name.indexOf("/") + 1)}`;
}

/** Bytes that the loop device over the disk of a set has read since `before`. */
export async function readSince(before: ReadonlyMap<string, number>, set: InjectSet): Promise<number> {
  const devices = await run("losetup", ["--noheadings", "--output", "NAME", "--associated", set.disk]);
  const name = basename(devices.split("\n")[0]?.trim() ?? "");
  return ((await loopReadBytes()).get(name) ?? Number.NaN) - (before.get(name) ?? 0);
}

/** What each loop device has read, whatever file it was over (kernel `Documentation/block/stat.rst`, third field, in 512 bytes). */
export async function loopReadBytes(): Promise<ReadonlyMap<string, number>> {
  const devices = (await readdir("/sys/block")).filter((name) => name.startsWith("loop"));
  const entries = devices.map(async (name): Promise<[string, number]> => {
    const text = await readFile(`/sys/block/${name}/stat`, "utf8");
    return [name, Number(text.trim().split(/\s+/)[2]) * 512];
  });
  return new Map(await Promise.all(entries));
}
