import { z } from "zod";
import { apiVersion, bytesPerSecond, duration, labelKey, labelValue, objectName } from "../../kubernetes/fields.ts";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { credentialProvidersSchema, dockerConfigsSchema, registriesSchema } from "../refresh/registry-settings.ts";

const percent = z.int().min(1).max(99);
const absolutePath = z.string().regex(/^\/[^\0]*$/, "must be an absolute path");
const parallelism = z.int().min(1).max(64);

const disks = z
  .strictObject({
    folders: z
      .array(absolutePath)
      .default([nodeLayout.disks])
      .describe("Folders that only root can write; their `.erofs` files are disks. `--disks` adds to them."),
    inject: z
      .enum(["All", "Listed"])
      .default("All")
      .describe("`All`: every image of a trusted disk is wanted. `Listed`: only those that an image set lists."),
    devices: z
      .array(z.string().min(1))
      .default([])
      .describe("Block devices that are looked at: patterns of names in `/dev/disk/by-id`, or serial numbers."),
    allow: z
      .array(z.string().min(1))
      .default([])
      .describe(
        "Lines or ids of disks that may be injected from devices. None by default: anybody can copy a volume name.",
      ),
    removeReleased: z
      .boolean()
      .default(false)
      .describe("Remove the file of a disk when a newer one has taken its place and nothing holds it."),
    grace: duration
      .default("10m")
      .describe("How long a disk may be away or unreadable before its images are taken from the runtime."),
  })
  .prefault({});

const limits = z
  .strictObject({
    highWater: percent
      .default(75)
      .describe(
        "Percent of bytes or inodes in use, above which nothing is fetched. Keep it below kubelet's threshold.",
      ),
    evictAbove: percent
      .default(82)
      .describe(
        "Percent above which fetched images that are neither in use nor gated are given up, lowest priority first.",
      ),
    bandwidth: bytesPerSecond
      .optional()
      .describe("Bytes per second that the node fetches at most; no bound when left out."),
    parallelism: parallelism
      .default(4)
      .describe("Images that the node fetches at the same time, of all sets together."),
    parallelismPerRegistry: parallelism.default(4).describe("Images fetched from one registry at the same time."),
  })
  .refine(({ highWater, evictAbove }) => evictAbove > highWater, {
    path: ["evictAbove"],
    error: "must be higher than highWater",
  })
  .prefault({});

const spec = z.strictObject({
  labels: z.record(labelKey, labelValue).default({}).describe("Labels of this node, for `nodeSelector` of image sets."),
  disks: disks.describe("Which disks are injected."),
  limits: limits.describe("What all image sets together may use."),
  keepPrevious: duration
    .default("1h")
    .describe("How long an image stays after its tag has moved and its last container is gone."),
  registries: registriesSchema.default([]).describe("What differs from the runtime's own registry configuration."),
  credentialProviders: credentialProvidersSchema
    .optional()
    .describe(
      "kubelet's credential providers, for registries of clouds. Default: those that a kubelet on this node uses.",
    ),
  dockerConfigs: dockerConfigsSchema
    .optional()
    .describe("Files in the form of docker's `config.json`. Default: those of root, and kubelet's."),
  docker: z
    .strictObject({
      overlay2: z
        .boolean()
        .default(false)
        .describe("Inject into a Docker daemon with the overlay2 graph driver, where image ids differ."),
    })
    .prefault({})
    .describe("Docker daemons."),
  listen: z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]*):\d{1,5}$/, 'must be HOST:PORT, such as "127.0.0.1:9470"')
    .optional()
    .describe("Address of `/healthz`, `/readyz` and `/metrics`; none when it is left out. `--listen` comes first."),
});

/** Schema of the `AgentConfig` document; unknown fields are errors. */
export const agentConfigSchema = z.strictObject({
  apiVersion: z.literal(apiVersion, { error: `must be ${apiVersion}` }).describe(`\`${apiVersion}\``),
  kind: z.literal("AgentConfig", { error: "must be AgentConfig" }).describe("`AgentConfig`"),
  metadata: z.strictObject({ name: objectName.describe("Any name.") }).describe("As in every Kubernetes object."),
  spec: spec.prefault({}).describe("How the agent of this node works."),
});

/** How the agent of one node works, all defaults filled in. */
export type AgentConfig = z.output<typeof agentConfigSchema>;
export type AgentSpec = AgentConfig["spec"];

/** What holds where no document says otherwise. */
export function defaultAgentSpec(): AgentSpec {
  return spec.parse({});
}
