import { z } from "zod";
import {
  apiVersion,
  bytesPerSecond,
  duration,
  durationOfAtLeast,
  imageReference,
  labelKey,
  labelValue,
  objectName,
} from "./fields.ts";

const refresh = z
  .union(
    [
      z.literal("Never"),
      z.strictObject({
        interval: durationOfAtLeast("10s").describe("Time between two looks at the registry, at least `10s`."),
      }),
    ],
    {
      error: 'must be "Never" or {interval: DURATION}',
    },
  )
  .default({ interval: "5m" })
  .describe(
    "How often the tag is resolved again; `Never`: only once. A reference with a digest is never resolved again.",
  );

const image = z.strictObject({
  ref: imageReference.describe("The image, as in a pod: `nginx:1.29`, `registry.example/team/app@sha256:…`."),
  refresh,
  gate: z.boolean().default(true).describe("Whether a new node takes no workloads before this image is warm."),
  priority: z
    .int()
    .min(-1000)
    .max(1000)
    .default(0)
    .describe("Images with a higher number are made warm first; equal ones in the order of the list."),
});

const matchExpression = z
  .strictObject({
    key: labelKey.describe("Label key."),
    operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]).describe("How `values` are compared."),
    values: z.array(labelValue).default([]).describe("Label values; for `In` and `NotIn` at least one, else none."),
  })
  .refine(({ operator, values }) => (operator === "In" || operator === "NotIn") === values.length > 0, {
    path: ["values"],
    error: "In and NotIn need at least one value, Exists and DoesNotExist take none",
  });

const spec = z.strictObject({
  images: z.array(image).max(10_000).default([]).describe("The images to keep warm."),
  nodeSelector: z
    .strictObject({
      matchLabels: z.record(labelKey, labelValue).default({}).describe("Labels that a node must have."),
      matchExpressions: z.array(matchExpression).default([]).describe("Further conditions on the labels of a node."),
    })
    .default({ matchLabels: {}, matchExpressions: [] })
    .describe("The nodes that this set is for; all when it is left out."),
  gateTimeout: duration.default("10m").describe("How long a new node waits for gated images."),
  onTimeout: z
    .enum(["Open", "Closed"])
    .default("Open")
    .describe("What happens after `gateTimeout`: `Open` lets workloads in, `Closed` keeps them out."),
  pullSecrets: z.array(objectName).default([]).describe("Names of pull secrets in Nodewarm's own namespace."),
  parallelism: z.int().min(1).max(64).default(3).describe("Images that one node fetches at the same time."),
  bandwidth: bytesPerSecond
    .optional()
    .describe("Bytes per second that one node fetches at most; no bound when it is left out."),
  disks: z.array(imageReference).default([]).describe("References of cache disks kept as artifacts in a registry."),
  discover: z
    .strictObject({
      namespaces: z.array(objectName).min(1).describe("Namespaces whose workloads are looked at."),
    })
    .optional()
    .describe("Adds the images that workloads of these namespaces use."),
});

/** Schema of an `ImageSet` document; unknown fields are errors. */
export const imageSetSchema = z.strictObject({
  apiVersion: z.literal(apiVersion, { error: `must be ${apiVersion}` }).describe(`\`${apiVersion}\``),
  kind: z.literal("ImageSet", { error: "must be ImageSet" }).describe("`ImageSet`"),
  metadata: z
    .strictObject({
      name: objectName.describe("Name of the set; the default line of a disk built from it."),
      labels: z.record(labelKey, labelValue).default({}).describe("Labels of the object; not used by Nodewarm."),
      annotations: z
        .record(z.string(), z.string())
        .default({})
        .describe("Annotations of the object; not used by Nodewarm."),
    })
    .describe("As in every Kubernetes object."),
  spec: spec.describe("What is wanted."),
});

/** A declared list of images with its policies, all defaults filled in. */
export type ImageSet = z.output<typeof imageSetSchema>;
