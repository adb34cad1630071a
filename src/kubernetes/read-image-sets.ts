import { type ImageSet, imageSetSchema } from "./image-set.ts";
import { KubernetesError } from "./kubernetes-error.ts";
import { readDocuments } from "./read-documents.ts";

/** All `ImageSet` documents in the YAML (or JSON) `text`, at least one; see `readDocuments`. Throws `KubernetesError`. */
export function readImageSets(text: string, fileName: string): readonly ImageSet[] {
  const sets = readDocuments(text, fileName, { ImageSet: imageSetSchema }).map(({ value }) => value);
  if (sets.length > 0) return sets;
  throw new KubernetesError("invalid-document", `${fileName}: no ImageSet in it; see docs/image-set.md for the fields`);
}
