import { z } from "zod";

const absolutePath = z.string().regex(/^\/[^\0]*$/, "must be an absolute path");

const prefix = z
  .string()
  .regex(
    /^[A-Za-z0-9.*[\]:-]+(\/[a-z0-9._-]+)*\/?$/,
    "must be a registry host, or host and path, such as registry.example/team",
  );

const mirror = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "must be a URL with http or https" }).describe("Base URL of the mirror."),
  resolve: z.boolean().default(true).describe("Whether the mirror is asked what a tag stands for, too."),
});

const credentials = z
  .strictObject({
    username: z.string().min(1).describe("Name to sign in with."),
    passwordFile: absolutePath.describe("File with the password or token; read again when the registry refuses it."),
  })
  .describe("Come before those of docker config files and credential providers.");

const registry = z.strictObject({
  prefix: prefix.describe(
    "Registry host, or host and leading part of repositories, as in normalised references; the longest that fits counts.",
  ),
  credentials: credentials.optional(),
  plainHttp: z.boolean().default(false).describe("Speak HTTP without TLS."),
  skipVerify: z.boolean().default(false).describe("Do not look at the certificates of servers. For tests only."),
  authorities: z
    .array(absolutePath)
    .default([])
    .describe("PEM files of certificate authorities, beside those of the system."),
  client: z
    .strictObject({
      certificate: absolutePath.describe("PEM file with the certificate."),
      key: absolutePath.describe("PEM file with its key."),
    })
    .optional()
    .describe("Certificate to show to the registry itself."),
  mirrors: z.array(mirror).default([]).describe("Asked in their order, before the registry itself."),
  proxy: z
    .union([z.literal("none"), z.url({ protocol: /^https?$/ })], {
      error: 'must be "none" or a URL with http or https',
    })
    .optional()
    .describe("Proxy for this registry in place of the runtime's: a URL, or `none`."),
  requestsPerSecond: z
    .number()
    .min(0.01)
    .max(1000)
    .default(5)
    .describe("Questions about tags that one registry server is asked in the long run."),
  burst: z.int().min(1).max(1000).default(20).describe("Questions about tags that may come at once after a pause."),
});

/** Schemas of the parts of `AgentConfig` about registries. */
export const registriesSchema = z.array(registry);

export const credentialProvidersSchema = z.strictObject({
  config: absolutePath.describe("kubelet's `CredentialProviderConfig`: a file, or a folder of such files."),
  binaries: absolutePath.describe("Folder of the providers' programs."),
});

export const dockerConfigsSchema = z.array(absolutePath);

/** What `AgentConfig` says of one registry or part of it. */
export type RegistryOverride = z.output<typeof registry>;

/** What `AgentConfig` says of registries, all defaults filled in. */
export type RegistrySettings = {
  readonly registries: readonly RegistryOverride[];
  /** Default: those of a kubelet on this node. */
  readonly credentialProviders?: z.output<typeof credentialProvidersSchema> | undefined;
  /** Files in the form of docker's config.json. Default: the usual places. */
  readonly dockerConfigs?: readonly string[] | undefined;
};
