import { z } from "zod";
import { parseReference } from "../oci/reference.ts";
import { durationMs } from "./quantities.ts";

/** `apiVersion` of all objects of Nodewarm. */
export const apiVersion = "nodewarm.io/v1alpha1";

const durationPattern = /^(\d+(\.\d+)?(ms|s|m|h))+$/;
const quantityPattern = /^[1-9]\d*(K|M|G|T|k|Ki|Mi|Gi|Ti)?$/;
const dnsSubdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const labelKeyPattern = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValuePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const localSourcePattern = /^(oci|oci-archive|docker-archive):/;

/** Fields that more than one kind has. */
export const duration = z.string().regex(durationPattern, 'must be a duration such as "90s", "10m" or "1h30m"');
export const bytesPerSecond = z.string().regex(quantityPattern, 'must be bytes per second, such as "50M" or "64Mi"');
export const objectName = z
  .string()
  .max(253)
  .regex(
    dnsSubdomainPattern,
    "must be lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
  );
export const labelKey = z.string().regex(labelKeyPattern, "must be a label key such as example.com/pool");
export const labelValue = z
  .string()
  .regex(labelValuePattern, "must be a label value: at most 63 letters, digits, '-', '_' and '.'");

export const imageReference = z.string().superRefine((text, context) => {
  if (localSourcePattern.test(text)) {
    context.addIssue("must be a reference in a registry; give layouts and archives on the command line");
    return;
  }
  try {
    parseReference(text);
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error));
  }
});

/** A duration that is at least so long. */
export function durationOfAtLeast(minimum: string) {
  return duration.refine((text) => !durationPattern.test(text) || durationMs(text) >= durationMs(minimum), {
    error: `must be at least ${minimum}`,
  });
}
