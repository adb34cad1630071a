import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import { criNamespace } from "../containerd-node.ts";
import { criImageLabels, label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import type { ImagePlan, RecordChange } from "./plan.ts";

/**
 * Gives images their names. First each its id and its tags, by which containers start; then those that are made of repository and digest,
 * which are as many transactions again that nobody need wait for. One that somebody else makes meanwhile is his.
 */
export async function writeRecords(job: InjectJob, plans: readonly ImagePlan[]): Promise<void> {
  const isLater = ({ image }: ImagePlan, { name }: RecordChange) => name.includes("@") && !image.names.includes(name);
  for (const round of [false, true]) {
    await sideBySide(plans, async (plan) => {
      for (const record of plan.records) if (isLater(plan, record) === round) await writeRecord(job, plan, record);
    });
  }
}

async function writeRecord(
  { node, meter, open, atStep }: InjectJob,
  { image: { target } }: ImagePlan,
  { name, action }: RecordChange,
): Promise<void> {
  const ofCri = node.namespace === criNamespace && criImageLabels;
  const labels = { [label.disk]: open.disk.id, ...ofCri, [label.name]: name, [label.target]: target.digest };
  atStep("record");
  meter.count("record");
  try {
    // Not under the lease: containerd keeps records for themselves, and would write some pages more to note them there.
    if (action === "create") await node.in.images.create({ name, target, labels });
    else await node.in.images.update(name, { target, labels });
  } catch (error) {
    if (!isRuntimeError(error, action === "create" ? "already-exists" : "not-found")) throw error;
  }
}
