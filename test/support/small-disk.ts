import { join } from "node:path";
import { buildTestDisk } from "./disk-maker.ts";
import { makeImage } from "./image-maker.ts";
import { directory, file, tar } from "./tar-maker.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

export type SmallDisk = { readonly path: string; readonly sizeBytes: number };

/** A disk with one image of one layer, in a folder of its own: `etc/name` holds `text`. */
export async function makeSmallDisk(scope: Scope, text = "small\n"): Promise<SmallDisk> {
  const work = await temporaryDirectory(scope, "disk");
  const layer = tar(directory("etc/"), file("etc/name", text));
  const image = await makeImage(join(work, "layout"), { layers: [{ tar: layer }] });
  const { path, sizeBytes } = await buildTestDisk(work, join(work, "layout"), [image]);
  return { path, sizeBytes };
}
