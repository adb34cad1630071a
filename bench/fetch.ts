import { readFileSync } from "node:fs";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { startRegistry } from "../test/support/registry.ts";
import { type ContainerdRuntime, containerdRuntimes } from "../test/support/runtimes/fleet.ts";
import { layeredImage, storagePath } from "./fetch/layered-image.ts";
import { describeMachine } from "./measure/machine.ts";
import { dropPageCache } from "./measure/measured-run.ts";
import { processSeconds } from "./measure/process-tree.ts";
import { median } from "./measure/statistics.ts";
import { markdownTable, mebibytes, megabytes, significant } from "./measure/table.ts";
import { openBenchCache } from "./suite/cache.ts";
import { run } from "./suite/command.ts";
import type { StoredImage } from "./suite/image-store.ts";

const usage = `npm run bench:fetch -- [options]   compares fetching an image with \`ctr image pull\`; needs root

  --containerd V    version of containerd: 2.4.2 (default), 1.6.20...
  --layers A,B      images of so many layers; default 8,1
  --mb N            compressed size of each image in MB; default 1000
  --runs N          alternating runs of each; default 5
`;

type Run = {
  readonly seconds: number;
  readonly writtenBytes: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
};

/** What a fetch may take of a pull, by the number of layers, and in bytes written. */
const wallTargets: Readonly<Record<string, number>> = { 8: 0.9, 1: 1.1 };
const writtenTarget = 1.02;
const memoryTargetBytes = 150 * 2 ** 20;

const namespace = "k8s.io";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      containerd: { type: "string", default: "2.4.2" },
      layers: { type: "string", default: "8,1" },
      mb: { type: "string", default: "1000" },
      runs: { type: "string", default: "5" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const runtime = (await containerdRuntimes()).find(({ version }) => version === values.containerd);
  if (runtime === undefined || !runtime.available)
    throw new Error(`containerd ${values.containerd}: ${runtime?.reason ?? "not among those of the tests"}`);
  const cache = openBenchCache();
  const machine = await describeMachine(cache.work);
  const program = await bundleFetcher(join(cache.work, "fetch"));
  const registry = await startRegistry({ directory: storagePath(cache) });
  const rows: string[][] = [];
  try {
    for (const layers of values.layers.split(",").map(Number)) {
      const image = await layeredImage(cache, layers, Number(values.mb) * 1e6);
      const pulls: Run[] = [];
      const fetches: Run[] = [];
      for (let round = 0; round < Number(values.runs); round++) {
        const both = [
          async () => void pulls.push(await pull(runtime, registry.directHost, image)),
          async () => void fetches.push(await fetchOnce(runtime, program, registry.directHost, image)),
        ];
        // Neither always comes first.
        for (const each of round % 2 === 0 ? both : both.toReversed()) await each();
      }
      rows.push(row(image, pulls, fetches));
      process.stderr.write(`${JSON.stringify({ layers, pulls, fetches })}\n`);
    }
  } finally {
    await registry.stop();
  }
  process.stdout.write(
    `${machine.processor}, ${machine.cores} cores; Linux ${machine.kernel}; Node ${machine.node}; containerd ${runtime.version}\n\n`,
  );
  const head = ["layers", "MB", "unpacked MB", "pull s", "fetch s", "ratio", "written", "peak MiB", "CPU s of both"];
  process.stdout.write(`${markdownTable(head, rows)}\n`);
}

function row(image: StoredImage, pulls: readonly Run[], fetches: readonly Run[]): string[] {
  const of = (runs: readonly Run[], value: (run: Run) => number) => median(runs.map(value));
  const [pulled, fetched] = [of(pulls, ({ seconds }) => seconds), of(fetches, ({ seconds }) => seconds)];
  const written = of(fetches, (each) => each.writtenBytes) / of(pulls, (each) => each.writtenBytes);
  const peak = Math.max(...fetches.map(({ peakBytes }) => peakBytes));
  const wall = wallTargets[image.layers.length];
  const sum = (value: (layer: StoredImage["layers"][number]) => number) =>
    image.layers.reduce((total, layer) => total + value(layer), 0);
  return [
    String(image.layers.length),
    megabytes(sum(({ compressedBytes }) => compressedBytes)),
    megabytes(sum(({ tarBytes }) => tarBytes)),
    significant(pulled),
    significant(fetched),
    judged(fetched / pulled, wall, (value) => `${value.toFixed(2)}×`),
    judged(written, writtenTarget, (value) => `${value.toFixed(3)}×`),
    judged(peak, memoryTargetBytes, mebibytes),
    `${significant(of(pulls, (each) => each.cpuSeconds))} / ${significant(of(fetches, (each) => each.cpuSeconds))}`,
  ];
}

function judged(value: number, limit: number | undefined, show: (value: number) => string): string {
  if (limit === undefined) return show(value);
  return `${show(value)} (${value <= limit ? "meets" : "misses"} ${show(limit)})`;
}

async function pull(runtime: ContainerdRuntime, host: string, image: StoredImage): Promise<Run> {
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope);
  const pid = daemon.pid ?? 0;
  await dropPageCache();
  const before = { written: writtenBytes(pid), cpu: processSeconds(pid).own };
  const started = performance.now();
  await daemon.ctr("-n", namespace, "image", "pull", "--plain-http", `${host}/${image.name}`);
  await run("sync", ["-f", daemon.root]);
  const seconds = (performance.now() - started) / 1000;
  const cpuSeconds = processSeconds(pid).own - before.cpu;
  return { seconds, cpuSeconds, writtenBytes: writtenBytes(pid) - before.written, peakBytes: 0 };
}

/** As the agent is shipped: Node holds 30 MB more when it has to read TypeScript. */
async function bundleFetcher(folder: string): Promise<string> {
  const root = join(import.meta.dirname, "..");
  await build({
    absWorkingDir: root,
    entryPoints: {
      "fetch-once": "bench/fetch/fetch-once.ts",
      "hash-worker": "src/runtime/containerd/fetch/hash-worker.ts",
    },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    external: ["koffi"],
    minify: true,
  });
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  return join(folder, "fetch-once.mjs");
}

async function fetchOnce(runtime: ContainerdRuntime, program: string, host: string, image: StoredImage): Promise<Run> {
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope);
  const pid = daemon.pid ?? 0;
  await dropPageCache();
  const before = { written: writtenBytes(pid), cpu: processSeconds(pid).own };
  const [repository = "", tag = ""] = image.name.split(":");
  const args = [program, daemon.address, namespace, `${host}/${repository}`, tag, daemon.root];
  const said = await run(process.execPath, args);
  const own: Run = JSON.parse(said);
  return {
    seconds: own.seconds,
    cpuSeconds: own.cpuSeconds + processSeconds(pid).own - before.cpu,
    writtenBytes: own.writtenBytes + writtenBytes(pid) - before.written,
    peakBytes: own.peakBytes,
  };
}

function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}

await main();
