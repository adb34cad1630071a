import { randomBytes } from "node:crypto";
import { addLayer, type MadeImage, makeImage } from "../support/image-maker.ts";
import { type InjectionImages, platform } from "../support/runtimes/injection.ts";
import { file, tar } from "../support/tar-maker.ts";

/** An image in the same layout that takes long enough to fetch: busybox and random bytes. It says "big". */
export async function addBigImage({ layout, base }: InjectionImages, sizeMiB: number): Promise<MadeImage> {
  const big = await addLayer(layout, {
    tar: tar(file("big", "big\n"), file("ballast", randomBytes(sizeMiB << 20))),
    compression: "none",
  });
  return makeImage(layout, { layers: [...base.layers, big], platform, run: { Cmd: ["/bin/cat", "/big"] } });
}
