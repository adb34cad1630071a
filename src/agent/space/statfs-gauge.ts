import { stat, statfs } from "node:fs/promises";
import { causeText } from "../../oci/oci-error.ts";
import { HostError } from "../../runtime/host/host-error.ts";
import type { SpaceGauge, SpaceUse } from "./space-gauge.ts";

/** Asks the kernel, statfs(2). */
export class StatfsGauge implements SpaceGauge {
  measure(folders: readonly string[]): Promise<readonly SpaceUse[]> {
    return Promise.all(folders.map(measureFolder));
  }
}

async function measureFolder(folder: string): Promise<SpaceUse> {
  try {
    const [{ bsize, blocks, bavail, files, ffree }, { dev }] = await Promise.all([statfs(folder), stat(folder)]);
    const bytes = { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
    return { folder, device: dev, ...bytes, totalInodes: files, freeInodes: ffree };
  } catch (cause) {
    throw new HostError("not-found", `cannot tell how full ${folder} is: ${causeText(cause)}`, { cause });
  }
}
