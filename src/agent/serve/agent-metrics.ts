import type { RequestWatcher } from "../../oci/registry/request-watcher.ts";
import type { InjectReport, OpenDisk } from "../../runtime/runtime.ts";
import type { LogLine } from "../log-line.ts";
import type { AgentParts } from "../loop/parts.ts";
import type { AgentDiskStatus, AgentStatus } from "../status.ts";
import { Metrics, type Sample } from "./metrics.ts";
import { replaceMethods } from "./replace-methods.ts";
import { RetryCount } from "./retry-count.ts";
import { WarmTimes } from "./warm-times.ts";

const actionBounds = [0.1, 0.3, 1, 3, 10, 30, 100, 300];
/** An image may wait for a registry or for room for long. */
const warmBounds = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000];

/** What agents count, in one place for all runtimes of the node. */
export class AgentMetrics {
  readonly #metrics = new Metrics();
  readonly #warmSeconds;
  readonly #lost;
  readonly #restored;
  readonly #actionSeconds;
  readonly #failures;
  readonly #retries;
  readonly #bytes;
  readonly #transactions;
  readonly #requests;
  /** What asks registries tells it of. */
  readonly requests: RequestWatcher;

  /** `status` is asked at each rendering. */
  constructor(status: () => readonly AgentStatus[]) {
    const metrics = this.#metrics;
    declareGauges(metrics, status);
    this.#warmSeconds = metrics.histogram(
      {
        name: "nodewarm_image_warm_seconds",
        labels: ["runtime", "source"],
        help: "Seconds from when an image, or a new digest of its tag, was wanted, or was lost, until it was warm, by where it came from.",
      },
      warmBounds,
    );
    this.#lost = metrics.counter({
      name: "nodewarm_image_disappearances_total",
      labels: ["runtime"],
      help: "Times that others took a warm image away, or moved its name.",
    });
    this.#restored = metrics.counter({
      name: "nodewarm_image_restorations_total",
      labels: ["runtime", "source"],
      help: "Times that this was undone: the image was warm again.",
    });
    this.#actionSeconds = metrics.histogram(
      {
        name: "nodewarm_action_seconds",
        labels: ["runtime", "action"],
        help: "How long what was done took, by action as in the log: `inject` is a whole disk, `fetch` one image.",
      },
      actionBounds,
    );
    this.#failures = metrics.counter({
      name: "nodewarm_failures_total",
      labels: ["runtime", "action", "code"],
      help: "Actions that failed, by code of the error as in the log.",
    });
    this.#retries = metrics.counter({
      name: "nodewarm_retries_total",
      labels: ["action"],
      help: "What was tried again after it had failed: actions, and each `request` to a registry.",
    });
    this.#bytes = metrics.counter({
      name: "nodewarm_bytes_total",
      labels: ["runtime", "source"],
      help: "Bytes of layers, compressed, that images came with: of a `disk`, fetched from a `registry`, or there already (`node`).",
    });
    this.#transactions = metrics.counter({
      name: "nodewarm_runtime_transactions_total",
      labels: ["runtime"],
      help: "Transactions of the runtime's metadata that injection cost.",
    });
    this.#requests = metrics.counter({
      name: "nodewarm_registry_requests_total",
      labels: ["server", "about"],
      help: "Requests to registry servers, about a `tag` or for `content`; redirects and signing in do not count.",
    });
    this.requests = {
      asked: (server, about) => this.#requests.add({ server, about }),
      retried: () => this.#retries.add({ action: "request" }),
    };
  }

  render(): string {
    return this.#metrics.render();
  }

  /** For the documentation. */
  list(): ReturnType<Metrics["list"]> {
    return this.#metrics.list();
  }

  /** The same parts, with what they do counted. */
  count(parts: AgentParts): AgentParts {
    const { runtime, keeper, clock, log } = parts;
    const of = { runtime: runtime.name };
    const warmTimes = new WarmTimes();
    const retryCount = new RetryCount();
    return {
      ...parts,
      log: (line) => {
        this.#note(line, of.runtime);
        const warmed = warmTimes.note(line, clock.nowMs());
        if (warmed !== undefined) {
          this.#warmSeconds.observe(warmed.seconds, { ...of, source: warmed.source });
          if (warmed.wasLost) this.#restored.add({ ...of, source: warmed.source });
        }
        const action = retryCount.note(line);
        if (action !== undefined) this.#retries.add({ action });
        log(line);
      },
      runtime: replaceMethods(runtime, {
        inject: async (disk, options) => {
          const report = await runtime.inject(disk, options);
          this.#transactions.add(of, report.transactions);
          this.#bytes.add({ ...of, source: "disk" }, injectedBytes(disk, report));
          return report;
        },
      }),
      keeper: replaceMethods(keeper, {
        fetch: async (image, repository, options) => {
          const report = await keeper.fetch(image, repository, options);
          const total = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
          this.#bytes.add({ ...of, source: "registry" }, report.fetchedBytes);
          this.#bytes.add({ ...of, source: "disk" }, report.diskBytes);
          this.#bytes.add({ ...of, source: "node" }, Math.max(0, total - report.fetchedBytes - report.diskBytes));
          return report;
        },
      }),
    };
  }

  #note({ event, fields }: LogLine, runtime: string): void {
    if (event === "image-lost") this.#lost.add({ runtime });
    if (event === "action-done")
      this.#actionSeconds.observe(fields.seconds ?? 0, { runtime, action: fields.action ?? "" });
    if (event === "action-failed")
      this.#failures.add({ runtime, action: fields.action ?? "", code: fields.code ?? "unexpected" });
  }
}

function declareGauges(metrics: Metrics, status: () => readonly AgentStatus[]): void {
  metrics.gauge(
    {
      name: "nodewarm_images",
      labels: ["runtime", "phase", "source"],
      help: "Images that are wanted, by phase and by where the node has them from.",
    },
    () =>
      status().flatMap(({ runtime, images }) =>
        counted(images, ({ phase, source = "none" }) => ({ runtime, phase, source })),
      ),
  );
  metrics.gauge(
    {
      name: "nodewarm_disks",
      labels: ["runtime", "phase"],
      help: "Disks that were found or are injected, by phase.",
    },
    () => status().flatMap(({ runtime, disks }) => counted(disks, ({ phase }) => ({ runtime, phase }))),
  );
  metrics.gauge(
    {
      name: "nodewarm_disks_held",
      labels: ["runtime"],
      help: "Disks that are not wanted any more and that something still holds.",
    },
    () => status().map(({ runtime, disks }) => ({ labels: { runtime }, value: disks.filter(isHeld).length })),
  );
  metrics.gauge({ name: "nodewarm_ready", labels: ["runtime"], help: "1 when workloads may come." }, () =>
    status().map(({ runtime, gate }) => ({ labels: { runtime }, value: gate.isReady ? 1 : 0 })),
  );
}

function isHeld({ phase, heldBy }: AgentDiskStatus): boolean {
  return heldBy.length > 0 && (phase === "Replaced" || phase === "Ejecting" || phase === "Held");
}

/** Of the layers of images that were not usable before; what several share counts once. */
function injectedBytes({ disk }: OpenDisk, { images }: InjectReport): number {
  const injected = new Set<string>(images.flatMap(({ result, digest }) => (result === "injected" ? [digest] : [])));
  const sizes = new Map(
    disk.index.images.flatMap(({ target, layers }) =>
      injected.has(target.digest) ? layers.map(({ digest, size }) => [digest, size] as const) : [],
    ),
  );
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

function counted<Item, Label extends string>(
  items: readonly Item[],
  labelsOf: (item: Item) => Readonly<Record<Label, string>>,
): readonly Sample<Label>[] {
  const counts = new Map<string, { labels: Readonly<Record<Label, string>>; value: number }>();
  for (const item of items) {
    const labels = labelsOf(item);
    const key = JSON.stringify(Object.values(labels));
    const found = counts.get(key);
    if (found === undefined) counts.set(key, { labels, value: 1 });
    else found.value++;
  }
  return [...counts.values()];
}
