import type { RegistryAccess } from "../../src/runtime/containerd/registry/registry-access.ts";

/** How a runtime with these settings reaches registries; default: one without any. */
export function registryAccess(settings: Partial<RegistryAccess> = {}): RegistryAccess {
  return {
    source: "test",
    isRunning: true,
    hostsDirectories: [],
    tables: { mirrors: {}, configs: {} },
    environment: {},
    problems: [],
    local: (path) => path,
    ...settings,
  };
}
