import { type Endpoint, runtimeEndpoint } from "../../../oci/registry/endpoint.ts";
import { configuredEndpoints } from "../../../oci/registry/hosts-toml.ts";
import { type MirrorTables, mirrorEndpoints } from "../../../oci/registry/mirror-endpoints.ts";

/** What a containerd knows of registries. Paths are those that it sees. */
export type ContainerdRegistries = {
  /** Folders of hosts.toml files; the first that knows a host counts. None: `tables` hold. */
  readonly hostsDirectories: readonly string[];
  /** The old form. Its mirrors do not count where there are `hostsDirectories`; credentials do. */
  readonly tables: MirrorTables;
  /** A path that containerd sees, as this program reaches it. */
  local(path: string): string;
};

/** As `RegistryAccess.endpoints`. */
export async function containerdEndpoints(
  { hostsDirectories, tables, local }: ContainerdRegistries,
  host: string,
  onProblem: (message: string) => void,
): Promise<readonly Endpoint[]> {
  if (hostsDirectories.length === 0) return mirrorEndpoints(tables, host, local);
  const own = [runtimeEndpoint(host)];
  return (await configuredEndpoints({ directories: hostsDirectories, local, onProblem }, host, own)) ?? own;
}
