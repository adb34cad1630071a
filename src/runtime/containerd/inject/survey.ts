import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition, InjectOptions, OpenDisk } from "../../runtime.ts";
import { allOf } from "../../side-by-side.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { type OwnedState, readOwnedState } from "../owned-state.ts";
import { type DiskDocuments, documentsOf } from "./disk-documents.ts";
import { staleLeases } from "./injection-lease.ts";
import { withMissingDocuments } from "./missing-documents.ts";
import { type ImagePlan, planImage } from "./plan.ts";
import { sandboxImages, whySkipped } from "./skipped-images.ts";

/** What an injection has to do, found out under the lock before anything is changed. */
export type Survey = {
  readonly state: OwnedState;
  readonly documents: DiskDocuments;
  /** Of killed calls. */
  readonly leases: readonly string[];
  readonly skipped: ReadonlyMap<IndexImage, Condition>;
  /** Of all images that are not skipped. */
  readonly plans: readonly ImagePlan[];
};

/**
 * Looks at the node, and plans from that. Meanwhile the index and the documents of the images are verified, so that nothing is claimed from
 * a disk that is broken. `ownLease`: id of that of this call. Throws `DiskError` and `RuntimeError`.
 */
export async function survey(
  node: ContainerdNode,
  open: OpenDisk,
  wanted: readonly IndexImage[],
  options: InjectOptions,
  ownLease: string,
): Promise<Survey> {
  const documents = documentsOf(open.disk);
  const [state, leases, sandboxes] = await allOf([
    readOwnedState(node),
    staleLeases(node, ownLease),
    sandboxImages(node),
    documents.verify(wanted, options.signal),
  ]);
  const { index } = open.disk;
  const skipped = new Map<IndexImage, Condition>();
  for (const image of wanted) {
    const condition = whySkipped(node, index, image, options, sandboxes);
    if (condition !== undefined) skipped.set(image, condition);
  }
  const images = wanted.filter((image) => !skipped.has(image));
  const broken = await withMissingDocuments(node, documents, images, state);
  const plans = images.map((image) =>
    planImage(index, image, state, { ...options, namespace: node.namespace, lacksDocuments: broken.has(image) }),
  );
  return { state, documents, leases, skipped, plans };
}
