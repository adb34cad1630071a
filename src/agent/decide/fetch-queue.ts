import type { Digest } from "../../oci/descriptor.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import { byUrgency } from "../desired/listed-images.ts";
import { usedPercent } from "../space/space-gauge.ts";
import type { Action } from "./action.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import type { View } from "./world.ts";

type Fetch = Extract<Action, { type: "fetch" }>;

/** An image that is to be fetched; the most urgent of its names says how urgent it is. */
type Wanted = { readonly fetch: Fetch; readonly urgency: Pick<DesiredImage, "gate" | "priority"> };

/** How often what fills the node or troubles it is looked at, while something waits for that to end. */
const lookAgainMs = 10_000;

/**
 * Images that only the registry has, the most urgent first, and how many of them may come at once. One that is more urgent than what runs takes
 * its place: what was fetched by then is not lost.
 */
export class FetchQueue {
  readonly #view: View;
  readonly #plan: Plan;
  readonly #wanted = new Map<Digest, Wanted>();
  readonly #verdicts = new Map<Digest, ImageVerdict>();

  constructor(view: View, plan: Plan) {
    this.#view = view;
    this.#plan = plan;
  }

  /** The image is to be fetched. The verdict is there after `finish`. Names of one digest share a fetch. */
  need(image: DesiredImage): () => ImageVerdict {
    const { wanted, reference, name, sets, gate } = image;
    if (wanted === undefined) return () => verdict("Pending");
    const { digest } = wanted;
    const before = this.#wanted.get(digest);
    const fetch: Fetch = {
      type: "fetch",
      digest,
      reference: before?.fetch.reference ?? reference,
      names: [...(before?.fetch.names ?? []), name],
      sets: [...new Set([...(before?.fetch.sets ?? []), ...sets])],
      isGated: gate || before?.fetch.isGated === true,
    };
    // Names come in the order of their urgency.
    this.#wanted.set(digest, { fetch, urgency: before?.urgency ?? image });
    return () => this.#verdicts.get(digest) ?? verdict("Pending");
  }

  finish(): void {
    const blocked = this.#whyNothing();
    const isRunning = ({ fetch: { digest } }: Wanted) => this.#view.running.has(`fetch ${digest}`);
    // Of equally urgent ones, what runs goes on.
    const wanted = [...this.#wanted.values()].sort(
      (a, b) => byUrgency(a.urgency, b.urgency) || Number(isRunning(b)) - Number(isRunning(a)),
    );
    const busy: Fetch[] = [];
    for (const each of wanted) {
      const { fetch } = each;
      const failure = this.#plan.failureOf(fetch);
      const reason = isRunning(each) ? "" : blocked || (fetch.isGated ? "" : this.#view.pressure);
      if (failure !== undefined) this.#verdicts.set(fetch.digest, failedVerdict(failure));
      else if (reason !== "") {
        this.#plan.wakeAt(this.#view.nowMs + lookAgainMs);
        this.#verdicts.set(fetch.digest, verdict("Held", reason));
      } else if (!this.#hasPlace(fetch, busy)) {
        this.#verdicts.set(fetch.digest, verdict("Pending", "waits for its turn"));
      } else {
        busy.push(fetch);
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
