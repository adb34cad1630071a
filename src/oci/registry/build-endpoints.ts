import { defaultEndpoints, type EndpointSource } from "./endpoint.ts";
import { configuredEndpoints } from "./hosts-toml.ts";

export type BuildEndpointOptions = {
  /** Hosts (as in references) to talk to without TLS. */
  readonly plainHttp: readonly string[];
  readonly hasAuthorities: boolean;
  /** containerd's registry configuration: `DIR/<host>/hosts.toml`. */
  readonly hostsDirectory: string | undefined;
};

/** The servers as a user names them on the command line. */
export function buildEndpoints({ plainHttp, hasAuthorities, hostsDirectory }: BuildEndpointOptions): EndpointSource {
  return {
    key: ({ host }) => host,
    async load({ host }) {
      const fallback = defaultEndpoints(host, plainHttp, hasAuthorities);
      if (hostsDirectory === undefined) return fallback;
      return (await configuredEndpoints({ directories: [hostsDirectory] }, host, fallback)) ?? fallback;
    },
  };
}
