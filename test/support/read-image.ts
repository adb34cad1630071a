import { RegistryImageResolver } from "../../src/agent/refresh/registry-image-resolver.ts";
import { hostPlatform } from "../../src/oci/platform.ts";
import { parseReference } from "../../src/oci/reference.ts";
import type { RegistryAccess } from "../../src/runtime/registry-access.ts";

const { signal } = new AbortController();

/** Resolves a tag and reads its first layer to the end as the agent does where registries are reached so, at the first try or not at all. */
export async function readImage(access: () => Promise<RegistryAccess>, reference: string): Promise<void> {
  const resolver = new RegistryImageResolver({
    access,
    settings: () => ({ registries: [], dockerConfigs: [] }),
    environment: {},
    kubelet: async () => undefined,
    limits: { "fetch-retries": 0 },
  });
  try {
    const digest = await resolver.resolveTag(parseReference(reference), { signal });
    const image = await resolver.openImage(parseReference(reference), digest, hostPlatform(), { signal });
    for await (const _ of image.openLayer(0, { signal }));
  } finally {
    await resolver.close();
  }
}
