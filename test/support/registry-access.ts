import { mirrorCredentials } from "../../src/oci/registry/mirror-endpoints.ts";
import {
  type ContainerdRegistries,
  containerdEndpoints,
} from "../../src/runtime/containerd/registry/containerd-endpoints.ts";
import type { ContainerdRegistryAccess } from "../../src/runtime/containerd/registry/registry-access.ts";

/** How a containerd with these settings reaches registries; default: one without any. */
export function registryAccess(settings: Partial<ContainerdRegistryAccess> = {}): ContainerdRegistryAccess {
  const registries: ContainerdRegistries = {
    hostsDirectories: settings.hostsDirectories ?? [],
    tables: settings.tables ?? { mirrors: {}, configs: {} },
    local: settings.local ?? ((path) => path),
  };
  return {
    source: "test",
    isRunning: true,
    environment: {},
    problems: [],
    credentials: mirrorCredentials(registries.tables.configs),
    endpoints: (host, onProblem) => containerdEndpoints(registries, host, onProblem),
    ...registries,
    ...settings,
  };
}
