import type { Digest } from "../../oci/descriptor.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import { usedPercent } from "../space/space-gauge.ts";
import type { Action } from "./action.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import type { View } from "./world.ts";

type Fetch = Extract<Action, { type: "fetch" }>;

/** How often what fills the node or troubles it is looked at, while something waits for that to end. */
const lookAgainMs = 10_000;

/** Images that only the registry has, the most urgent first, and how many of them may come at once. */
export class FetchQueue {
  readonly #view: View;
  readonly #plan: Plan;
  readonly #wanted = new Map<Digest, Fetch>();
  readonly #verdicts = new Map<Digest, ImageVerdict>();

  constructor(view: View, plan: Plan) {
    this.#view = view;
    this.#plan = plan;
  }

  /** The image is to be fetched. The verdict is there after `finish`. Names of one digest share a fetch. */
  need({ wanted, reference, name, sets, gate }: DesiredImage): () => ImageVerdict {
    if (wanted === undefined) return () => verdict("Pending");
    const { digest } = wanted;
    const before = this.#wanted.get(digest);
    this.#wanted.set(digest, {
      type: "fetch",
      digest,
      reference: before?.reference ?? reference,
      names: [...(before?.names ?? []), name],
      sets: [...new Set([...(before?.sets ?? []), ...sets])],
      isGated: gate || before?.isGated === true,
    });
    return () => this.#verdicts.get(digest) ?? verdict("Pending");
  }

  finish(): void {
    const blocked = this.#whyNothing();
    const wanted = [...this.#wanted.values()];
    const running = wanted.filter(({ digest }) => this.#view.running.has(`fetch ${digest}`));
    const started: Fetch[] = [];
    for (const fetch of wanted) {
      const isRunning = running.includes(fetch);
      const failure = this.#plan.failureOf(fetch);
      const reason = isRunning ? "" : blocked || (fetch.isGated ? "" : this.#view.pressure);
      if (failure !== undefined) this.#verdicts.set(fetch.digest, failedVerdict(failure));
      else if (reason !== "") {
        this.#plan.wakeAt(this.#view.nowMs + lookAgainMs);
        this.#verdicts.set(fetch.digest, verdict("Held", reason));
      } else if (!isRunning && !this.#hasPlace(fetch, [...running, ...started])) {
        this.#verdicts.set(fetch.digest, verdict("Pending", "waits for its turn"));
      } else {
        if (!isRunning) started.push(fetch);
        this.#plan.add(fetch);
        this.#verdicts.set(fetch.digest, verdict("Fetching", "comes from the registry"));
      }
    }
  }

  /** An image counts in every set that lists it. */
  #hasPlace(fetch: Fetch, busy: readonly Fetch[]): boolean {
    const { policy, sets } = this.#view;
    if (busy.length >= policy.parallelism) return false;
    const sameHost = busy.filter(({ reference }) => reference.host === fetch.reference.host);
    if (sameHost.length >= policy.parallelismPerRegistry) return false;
    return fetch.sets.every((name) => {
      const limit = sets.find((set) => set.name === name)?.parallelism ?? 1;
      return busy.filter((other) => other.sets.includes(name)).length < limit;
    });
  }

  #whyNothing(): string {
    const { space, policy } = this.#view;
    const full = space.find((use) => usedPercent(use) >= policy.highWater);
    if (full === undefined) return "";
    return `no space: ${usedPercent(full).toFixed(0)} % of the file system of ${full.folder} is in use, and nothing is fetched from ${policy.highWater} % on`;
  }
}

function failedVerdict({ code, message }: { readonly code: string; readonly message: string }): ImageVerdict {
  return verdict(code === "no-space" ? "Held" : "Failed", message);
}
