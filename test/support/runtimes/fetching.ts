import type { Descriptor } from "../../../src/oci/descriptor.ts";
import { openImageSource } from "../../../src/oci/open-image.ts";
import type { ResolvedImage } from "../../../src/oci/resolved-image.ts";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { fetchImage } from "../../../src/runtime/containerd/fetch/fetch-image.ts";
import type { FetchStep } from "../../../src/runtime/containerd/fetch/fetch-job.ts";
import type { FetchOptions, FetchReport } from "../../../src/runtime/image-keeper.ts";
import { type FaultRegistry, startFaultRegistry } from "../fault-registry.ts";
import type { Scope } from "../temporary.ts";
import { platform } from "./injection.ts";

/** A registry that serves images of a layout as `team/<name>:v1`, and misbehaves as told. */
export async function startImageRegistry(
  scope: Scope,
  layoutDirectory: string,
  images: Readonly<Record<string, Descriptor>>,
): Promise<FaultRegistry> {
  const tags = Object.fromEntries(Object.entries(images).map(([name, target]) => [`team/${name}:v1`, target]));
  const registry = await startFaultRegistry({ layoutDirectory, tags });
  scope.defer(() => registry.stop());
  return registry;
}

/** The image `team/<name>:v1` of a registry; its connections last as long as the scope. */
export async function resolveFrom(
  scope: Scope,
  registry: Pick<FaultRegistry, "host">,
  name: string,
): Promise<{ readonly image: ResolvedImage; readonly repository: string }> {
  const repository = `${registry.host}/team/${name}`;
  const limits = { "stall-seconds": 0.5, "fetch-retries": 2 };
  const source = await openImageSource(`${repository}:v1`, { retryDelayMs: 5, limits });
  scope.defer(() => source.close());
  return { image: await source.resolve(platform, { signal: new AbortController().signal }), repository };
}

/** Resolves and fetches. */
export async function fetchFrom(
  node: ContainerdNode,
  registry: Pick<FaultRegistry, "host">,
  name: string,
  options: Partial<FetchOptions> = {},
  atStep?: FetchStep,
): Promise<FetchReport> {
  await using scope = new AsyncDisposableStack();
  const { image, repository } = await resolveFrom(scope, registry, name);
  // Awaited here: the end of the scope closes the connections.
  return await fetchImage(node, image, repository, { signal: new AbortController().signal, ...options }, atStep);
}

/** Digests of the blobs that a registry was asked for since the last call. */
export function blobsAsked(registry: FaultRegistry): string[] {
  const asked = registry.requests
    .splice(0)
    .filter(({ method }) => method === "GET")
    .flatMap(({ path }) => /\/blobs\/(sha256:\w+)/.exec(path)?.[1] ?? []);
  return asked.sort();
}
