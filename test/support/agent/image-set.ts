import type { z } from "zod";
import { apiVersion } from "../../../src/kubernetes/fields.ts";
import { type ImageSet, imageSetSchema } from "../../../src/kubernetes/image-set.ts";

/** An image set with the defaults of its schema for all that `spec` leaves out. */
export function imageSet(name: string, spec: z.input<typeof imageSetSchema>["spec"]): ImageSet {
  return imageSetSchema.parse({ apiVersion, kind: "ImageSet", metadata: { name }, spec });
}
