import type { AgentParts } from "../loop/parts.ts";
import type { AgentStatus } from "../status.ts";
import { Metrics, type Sample } from "./metrics.ts";

/** What agents count, in one place for all runtimes of the node. */
export class AgentMetrics {
  readonly #metrics = new Metrics();
  readonly #transactions;
  readonly #bytes;
  readonly #failures;
  readonly #requests;
  readonly #seconds;

  /** `status` is asked at each rendering. */
  constructor(status: () => readonly AgentStatus[]) {
    const metrics = this.#metrics;
    metrics.gauge("nodewarm_images", "Images that are wanted, by phase and by where the node has them from.", () =>
      status().flatMap(imagesByPhase),
    );
    metrics.gauge("nodewarm_disks", "Disks that were found or are injected, by phase.", () =>
      status().flatMap(({ runtime, disks }) => counted(disks, ({ phase }) => ({ runtime, phase }))),
    );
    metrics.gauge("nodewarm_disks_held", "Disks that are not wanted any more and that something still holds.", () =>
      status().map(({ runtime, disks }) => ({
        labels: { runtime },
        value: disks.filter(({ phase, heldBy }) => phase === "Replaced" && heldBy.length > 0).length,
      })),
    );
    metrics.gauge(
      "nodewarm_image_disappearances",
      "How often others took wanted images away since the agent started.",
      () =>
        status().map(({ runtime, images }) => ({
          labels: { runtime },
          value: images.reduce((sum, { disappearances }) => sum + disappearances, 0),
        })),
    );
    metrics.gauge("nodewarm_ready", "1 when workloads may come.", () =>
      status().map(({ runtime, gate }) => ({ labels: { runtime }, value: gate.isReady ? 1 : 0 })),
    );
    this.#seconds = metrics.histogram(
      "nodewarm_action_seconds",
      "How long making images usable took: a whole disk for `inject`, one image for `fetch`.",
      [0.1, 0.3, 1, 3, 10, 30, 100, 300],
    );
    this.#bytes = metrics.counter(
      "nodewarm_bytes_total",
      "Bytes of layers, by source: fetched from a `registry`, or there already (`node`).",
    );
    this.#transactions = metrics.counter(
      "nodewarm_runtime_transactions_total",
      "Transactions of the runtime's metadata that injection cost.",
    );
    this.#failures = metrics.counter(
      "nodewarm_failures_total",
      "Things that failed and are tried again, by kind and code of the error.",
    );
    this.#requests = metrics.counter(
      "nodewarm_registry_questions_total",
      "Times that a registry was asked for a tag or an image.",
    );
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
    const { runtime, keeper, resolver } = parts;
    const of = { runtime: runtime.name };
    return {
      ...parts,
      runtime: {
        get name() {
          return runtime.name;
        },
        status: (options) => runtime.status(options),
        eject: (options) => this.#work("eject", () => runtime.eject(options)),
        close: () => runtime.close(),
        inject: (disk, options) =>
          this.#work("inject", async () => {
            const report = await runtime.inject(disk, options);
            this.#transactions.add(of, report.transactions);
            return report;
          }),
      },
      keeper: {
        name: keeper.name,
        platform: keeper.platform,
        // These change with a runtime that was started again.
        get fetchedBy() {
          return keeper.fetchedBy;
        },
        get folders() {
          return keeper.folders;
        },
        observe: (options) => keeper.observe(options),
        changes: (options) => keeper.changes(options),
        setName: (name, digest, options) => keeper.setName(name, digest, options),
        release: (name, how, options) => keeper.release(name, how, options),
        tidy: (options) => keeper.tidy(options),
        close: () => keeper.close(),
        fetch: (image, repository, options) =>
          this.#work("fetch", async () => {
            const report = await keeper.fetch(image, repository, options);
            const total = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
            this.#bytes.add({ ...of, source: "registry" }, report.fetchedBytes);
            this.#bytes.add({ ...of, source: "node" }, Math.max(0, total - report.fetchedBytes));
            return report;
          }),
      },
      resolver: {
        get problems() {
          return resolver.problems;
        },
        resolveTag: (reference, options) =>
          this.#ask(reference.host, "tag", () => resolver.resolveTag(reference, options)),
        openImage: (reference, digest, platform, options) =>
          this.#ask(reference.host, "image", () => resolver.openImage(reference, digest, platform, options)),
        close: () => resolver.close(),
      },
    };
  }

  async #work<Result>(action: string, work: () => Promise<Result>): Promise<Result> {
    const startedMs = performance.now();
    try {
      const result = await work();
      this.#seconds.observe((performance.now() - startedMs) / 1000, { action });
      return result;
    } catch (error) {
      this.#failures.add({ kind: action, code: codeOf(error) });
      throw error;
    }
  }

  async #ask<Result>(registry: string, about: string, work: () => Promise<Result>): Promise<Result> {
    this.#requests.add({ registry, about });
    try {
      return await work();
    } catch (error) {
      this.#failures.add({ kind: `resolve-${about}`, code: codeOf(error) });
      throw error;
    }
  }
}

function imagesByPhase({ runtime, images }: AgentStatus): readonly Sample[] {
  return counted(images, ({ phase, source = "none" }) => ({ runtime, phase, source }));
}

function counted<Item>(items: readonly Item[], labelsOf: (item: Item) => Record<string, string>): readonly Sample[] {
  const counts = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const item of items) {
    const labels = labelsOf(item);
    const key = Object.values(labels).join("\n");
    const found = counts.get(key);
    if (found === undefined) counts.set(key, { labels, value: 1 });
    else found.value++;
  }
  return [...counts.values()];
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unexpected";
}
