import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import type { FetchJob } from "./fetch-job.ts";
import { unpackingPrefix } from "./image-lease.ts";

/**
 * Has the snapshotter make its database while there is still room. It does so when it is first asked for something (containerd
 * `core/snapshots/storage/metastore.go`); where the disk is full just then, it leaves a file that is too short, which it can never open again
 * ("file size too small"). Lists and stats do not reach it: containerd answers them from records of its own. Throws `RuntimeError`.
 */
export async function openSnapshotter({ node, leased, atStep }: FetchJob): Promise<void> {
  const database = node.local(`${dirname(node.snapshotsFolder)}/metadata.db`);
  if (
    await stat(database).then(
      () => true,
      () => false,
    )
  )
    return;
  await atStep("open snapshotter");
  const writer = leased.snapshotWriter(node.snapshotter);
  const key = `${unpackingPrefix}${randomUUID()}`;
  await prepareSnapshot(node, writer, key);
  await writer.remove(key);
}
