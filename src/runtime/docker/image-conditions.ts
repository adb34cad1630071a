import type { Digest } from "../../oci/descriptor.ts";
import type { Condition } from "../runtime.ts";

/** What holds for every image that this method brings. `config`: the id that Docker gives the image when it is pulled. */
export function idDiffers(id: Digest, config: Digest): Condition {
  return {
    type: "ImageIDDiffers",
    message: `in Docker its id is ${id} instead of ${config}, it has no digest, and "docker push" and "docker save" are refused; pull it where that matters`,
  };
}
