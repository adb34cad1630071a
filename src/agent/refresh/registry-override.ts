import { readFile } from "node:fs/promises";
import { bySpecificity, matchesImage } from "../../oci/credentials/image-glob.ts";
import { causeText, OciError } from "../../oci/oci-error.ts";
import type { Endpoint, Repository, TlsSettings } from "../../oci/registry/endpoint.ts";
import type { RegistryOverride } from "./registry-settings.ts";

/** The entry with the longest prefix that fits a repository, matched as kubelet matches images. */
export function overrideOf(
  registries: readonly RegistryOverride[],
  { host, path }: Repository,
): RegistryOverride | undefined {
  const fitting = registries.filter(({ prefix }) => matchesImage(prefix, `${host}/${path}`));
  return fitting.sort((a, b) => bySpecificity(a.prefix, b.prefix))[0];
}

/**
 * The servers as the runtime has them, changed as `AgentConfig` says: its mirrors take the place of the runtime's, its authorities and proxy
 * hold for all servers, the rest for the registry itself. Throws `OciError` (invalid-configuration) naming the file that cannot be read.
 */
export async function withOverride(
  endpoints: readonly Endpoint[],
  override: RegistryOverride,
  host: string,
): Promise<readonly Endpoint[]> {
  const { prefix, authorities, client, skipVerify, plainHttp, proxy } = override;
  const read = (path: string) => readPem(path, prefix);
  const trusted = await Promise.all(authorities.map(read));
  const shown = client ? [{ certificate: await read(client.certificate), key: await read(client.key) }] : [];
  const trust = (tls: TlsSettings): TlsSettings => ({
    authorities: [...tls.authorities, ...trusted],
    client: tls.client,
    skipVerify: skipVerify || (tls.skipVerify && trusted.length === 0),
  });
  const changed = endpoints.map((endpoint) => {
    const own = endpoint.namespace === undefined;
    const tls = trust(endpoint.tls);
    const access = {
      tls: own && shown.length > 0 ? { ...tls, client: shown } : tls,
      ...(proxy !== undefined && { proxy }),
    };
    if (!own || !plainHttp) return { ...endpoint, ...access };
    const { fallsBackToHttp: _, ...plain } = endpoint;
    return { ...plain, ...access, origin: endpoint.origin.replace(/^https:/, "http:") };
  });
  if (override.mirrors.length === 0) return changed;
  const mirrors = override.mirrors.map(({ url, resolve }): Endpoint => {
    const { origin, pathname } = new URL(url);
    const path = pathname.replace(/\/+$/, "");
    return {
      origin,
      apiPath: path.endsWith("/v2") ? path : `${path}/v2`,
      resolves: resolve,
      pulls: true,
      headers: {},
      tls: trust({ authorities: [], client: [], skipVerify: false }),
      namespace: host,
      ...(proxy !== undefined && { proxy }),
    };
  });
  return [...mirrors, ...changed.filter(({ namespace }) => namespace === undefined)];
}

async function readPem(path: string, prefix: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const message = `Cannot read ${path}, which AgentConfig names for ${prefix}: ${causeText(error)}`;
    throw new OciError("invalid-configuration", message, { cause: error });
  }
}
