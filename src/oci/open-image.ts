import { readFile } from "node:fs/promises";
import { defaultCredentials } from "./credentials/default-credentials.ts";
import { DockerArchiveSource } from "./files/docker-archive-source.ts";
import { DirectoryTree } from "./files/file-tree.ts";
import { LayoutSource } from "./files/layout-source.ts";
import { TarTree } from "./files/tar-tree.ts";
import { type ImageArgument, parseImageArgument } from "./image-argument.ts";
import { limitValues } from "./limit.ts";
import { type OciLimits, ociLimits } from "./limits.ts";
import { causeText, OciError } from "./oci-error.ts";
import type { Reference } from "./reference.ts";
import type { RegistryClient } from "./registry/registry-client.ts";
import type { ImageSource } from "./resolved-image.ts";

export type OpenImageOptions = {
  /** File with credentials, asked before the usual places. */
  readonly authfile?: string | undefined;
  /** Registry hosts (`host` or `host:port`) to talk to without TLS. */
  readonly plainHttp?: readonly string[];
  /** PEM files with certificate authorities to trust in addition. */
  readonly caFiles?: readonly string[];
  /** containerd's registry configuration: `DIR/<host>/hosts.toml`. */
  readonly hostsDir?: string | undefined;
  /** Values by name of `ociLimits`; other names are ignored. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Default: that of the process. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Layers read at once from one registry. Default: 6. */
  readonly parallelism?: number;
  /** Default: `nodewarm`. */
  readonly userAgent?: string;
  /** Wait before the first retry; doubles from there. Default: 500. */
  readonly retryDelayMs?: number;
};

/** Opens images of one build, which share connections, tokens and the limit on parallel transfers. */
export interface ImageOpener {
  /** The source for an IMAGE argument. Throws `OciError`. */
  open(argument: string): Promise<ImageSource>;
  /** Closes connections; sources of registries cannot be used any more. May be called twice. */
  close(): Promise<void>;
}

/** Reads the CA files. Throws `OciError` (invalid-configuration). */
export async function imageOpener(options: OpenImageOptions = {}): Promise<ImageOpener> {
  const limits = limitValues(ociLimits, options.limits);
  const environment = options.environment ?? process.env;
  const authorities = await Promise.all((options.caFiles ?? []).map(readAuthority));
  const places = {
    plainHttp: options.plainHttp ?? [],
    hasAuthorities: authorities.length > 0,
    hostsDirectory: options.hostsDir,
  };
  const registryOptions = {
    authorities,
    credentials: defaultCredentials(options.authfile, environment),
    limits,
    parallelism: options.parallelism ?? 6,
    userAgent: options.userAgent ?? "nodewarm",
    ...(options.retryDelayMs !== undefined && { retryDelayMs: options.retryDelayMs }),
  };
  let client: RegistryClient | undefined;
  /** Loads what speaks to registries here: it takes 17 MB and 60 ms of CPU time, which builds of local files can do without. */
  const openRegistry = async (reference: Reference): Promise<ImageSource> => {
    const { RegistryClient } = await import("./registry/registry-client.ts");
    const { RegistrySource } = await import("./registry/registry-source.ts");
    const { buildEndpoints } = await import("./registry/build-endpoints.ts");
    const { environmentProxies } = await import("./registry/proxies.ts");
    client ??= new RegistryClient({
      ...registryOptions,
      endpoints: buildEndpoints(places),
      proxyFor: environmentProxies(environment),
    });
    return new RegistrySource(reference, client, limits);
  };
  return {
    open: async (argument) => openSource(parseImageArgument(argument), openRegistry, limits),
    close: async () => client?.close(),
  };
}

/** Opens one image on its own; closing the source closes its connections. Several share them with `imageOpener`. */
export async function openImageSource(argument: string, options: OpenImageOptions = {}): Promise<ImageSource> {
  const opener = await imageOpener(options);
  try {
    const source = await opener.open(argument);
    return {
      resolve: (platform, resolveOptions) => source.resolve(platform, resolveOptions),
      close: async () => {
        await source.close();
        await opener.close();
      },
    };
  } catch (error) {
    await opener.close();
    throw error;
  }
}

async function openSource(
  argument: ImageArgument,
  openRegistry: (reference: Reference) => Promise<ImageSource>,
  limits: OciLimits,
): Promise<ImageSource> {
  switch (argument.kind) {
    case "registry":
      return openRegistry(argument.reference);
    case "oci":
      return new LayoutSource(new DirectoryTree(argument.path), argument, limits);
    case "oci-archive":
      return new LayoutSource(await TarTree.open(argument.path, limits["archive-members"]), argument, limits);
    case "docker-archive": {
      const tree = await TarTree.open(argument.path, limits["archive-members"]);
      // Since version 25, docker save writes an OCI layout with manifest.json beside it.
      if (tree.has("index.json")) return new LayoutSource(tree, { reference: argument.reference }, limits);
      return new DockerArchiveSource(tree, argument.reference, limits);
    }
  }
}

async function readAuthority(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new OciError(
      "invalid-configuration",
      `Cannot read the certificate authorities in ${path}: ${causeText(error)}`,
    );
  }
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new OciError("invalid-configuration", `${path} holds no certificate in PEM form`);
}
