import type { Condition } from "../runtime.ts";

/** What holds for every image that this method brings. */
export const imageIDDiffers: Condition = {
  type: "ImageIDDiffers",
  message:
    'in Docker with overlay2 the images of a disk have other ids than pulled ones and no digests, and "docker push" and "docker save" of them fail; pull images where that matters',
};
