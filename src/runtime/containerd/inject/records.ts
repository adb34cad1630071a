import { isRuntimeError } from "../../runtime-error.ts";
import { criNamespace } from "../containerd-node.ts";
import { criImageLabels, label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import type { ImagePlan } from "./plan.ts";

/** Gives an image its names, the tags last: whoever finds one finds all else. One that somebody else makes meanwhile is his. */
export async function writeRecords({ node, leased, meter, open, atStep }: InjectJob, plan: ImagePlan): Promise<void> {
  const { target } = plan.image;
  const common = { [label.disk]: open.disk.id, ...(node.namespace === criNamespace && criImageLabels) };
  for (const { name, action } of plan.records) {
    atStep("record");
    meter.count("record");
    const labels = { ...common, [label.name]: name };
    try {
      if (action === "create") await leased.images.create({ name, target, labels });
      else await leased.images.update(name, { target, labels });
    } catch (error) {
      if (!isRuntimeError(error, action === "create" ? "already-exists" : "not-found")) throw error;
    }
  }
}
