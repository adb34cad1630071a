import { isRuntimeError } from "../../runtime-error.ts";
import type { Labels } from "../client/label.ts";
import { criNamespace } from "../containerd-node.ts";
import { isPinned, label, pinnedLabel, recordLabels } from "../ownership.ts";
import { type FetchJob, imageName } from "./fetch-job.ts";

type RecordJob = Pick<FetchJob, "node" | "image" | "repository" | "atStep">;

/** Names of the records of a fetched image, in the order in which they are made: whoever finds the last finds all else. */
export function recordNames(job: Pick<RecordJob, "node" | "image" | "repository">): string[] {
  // CRI would make that of the id by itself, but not before others may ask for it.
  return [...(job.node.namespace === criNamespace ? [job.image.config.digest] : []), imageName(job)];
}

/** Gives an image its records. Those that others made stay theirs, and are pinned. */
export async function writeRecords(job: RecordJob): Promise<void> {
  const { node, image } = job;
  const isCri = node.namespace === criNamespace;
  for (const name of recordNames(job)) {
    await job.atStep("record");
    try {
      await node.in.images.create({ name, target: image.target, labels: recordLabels(name, "fetched", isCri) });
    } catch (error) {
      if (!isRuntimeError(error, "already-exists")) throw error;
      await pin(job, name);
    }
  }
}

async function pin({ node, atStep }: RecordJob, name: string): Promise<void> {
  const { labels } = await node.in.images.get(name);
  const change = missingPin(node.namespace, labels);
  if (change === undefined) return;
  await atStep("pin");
  await node.in.images.update(name, { labels: change });
}

/** What a record lacks of being kept by us; `undefined` when it lacks nothing. */
export function missingPin(namespace: string, labels: Labels): Labels | undefined {
  if (namespace !== criNamespace || isPinned(labels)) return undefined;
  const isOurs = labels[label.fetched] !== undefined || labels[label.disk] !== undefined;
  return { [pinnedLabel]: "pinned", ...(!isOurs && { [label.kept]: "true" }) };
}
