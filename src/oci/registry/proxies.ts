import { BlockList, isIP } from "node:net";
import { isProxyBypassed } from "./no-proxy.ts";

/** URL of the proxy through which a URL is asked for, if any. */
export type ProxyChoice = (url: URL) => string | undefined;

/**
 * The proxies of an environment as the tools of a user read it: `HTTPS_PROXY` (that for HTTP serves HTTPS too where there is no other),
 * `HTTP_PROXY`, `NO_PROXY`, in upper or lower case. Loopback names are asked directly.
 */
export function environmentProxies(environment: NodeJS.ProcessEnv): ProxyChoice {
  const http = environment.HTTP_PROXY || environment.http_proxy;
  const https = environment.HTTPS_PROXY || environment.https_proxy || http;
  const noProxy = [environment.NO_PROXY || environment.no_proxy, "localhost", "127.0.0.1", "::1"];
  const bypassed = noProxy.filter(Boolean).join(",");
  return (url) => {
    const proxy = (url.protocol === "https:" ? https : http) || undefined;
    return proxy === undefined || isProxyBypassed(url, bypassed) ? undefined : proxy;
  };
}

/**
 * The proxies of an environment as programs in Go read it (golang.org/x/net/http/httpproxy): each scheme has its own; entries of `NO_PROXY`
 * between commas are `*`, a domain with its subdomains, `.domain` or `*.domain` for only those, an address or a CIDR block, each but the last
 * with or without a port; `localhost` and loopback addresses are asked directly. A proxy without a scheme is one of plain HTTP; other
 * schemes than `http` and `https` are not supported and count as none.
 */
export function goProxies(environment: NodeJS.ProcessEnv): ProxyChoice {
  const http = proxyUrl(environment.HTTP_PROXY || environment.http_proxy);
  const https = proxyUrl(environment.HTTPS_PROXY || environment.https_proxy);
  const isBypassed = goBypass(environment.NO_PROXY || environment.no_proxy || "");
  return (url) => {
    const proxy = url.protocol === "https:" ? https : http;
    return proxy === undefined || isBypassed(url) ? undefined : proxy;
  };
}

/** One proxy for all URLs but loopback ones, or `none`. */
export function fixedProxy(proxy: string): ProxyChoice {
  if (proxy === "none") return () => undefined;
  const isBypassed = goBypass("");
  return (url) => (isBypassed(url) ? undefined : proxy);
}

function proxyUrl(text: string | undefined): string | undefined {
  if (!text) return undefined;
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  return url?.protocol === "http:" || url?.protocol === "https:" ? url.href.replace(/\/$/, "") : undefined;
}

type Matcher = (host: string, port: string) => boolean;

function goBypass(noProxy: string): (url: URL) => boolean {
  const entries = noProxy.split(",").map((entry) => entry.trim().toLowerCase());
  const matchers = entries.filter(Boolean).flatMap((entry) => matcher(entry) ?? []);
  const isBypassed: Matcher = (host, port) =>
    host === "localhost" || isLoopbackAddress(host) || matchers.some((matches) => matches(host, port));
  return (url) => {
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/(.)\.$/, "$1");
    return isBypassed(host.toLowerCase(), url.port || (url.protocol === "https:" ? "443" : "80"));
  };
}

function matcher(entry: string): Matcher | undefined {
  if (entry === "*") return () => true;
  const [, address = "", bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (bits !== undefined) return isIP(address) === 0 ? undefined : inBlock(address, Number(bits));
  const [, name = "", port] = (isIP(entry) === 6 ? undefined : /^(.*?)(?::(\d+))?$/.exec(entry)) ?? ["", entry];
  const fits = (asked: string) => port === undefined || port === asked;
  const plain = name.replace(/^\[(.*)\]$/, "$1");
  if (isIP(plain) !== 0) {
    const isSame = inBlock(plain, isIP(plain) === 6 ? 128 : 32);
    return (host, asked) => fits(asked) && isSame(host, asked);
  }
  if (plain === "") return undefined;
  const isOnlyBelow = /^\*?\./.test(plain);
  const domain = plain.replace(/^\*?\./, "");
  return (host, asked) => fits(asked) && (host.endsWith(`.${domain}`) || (!isOnlyBelow && host === domain));
}

function inBlock(address: string, bits: number): Matcher {
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  const block = new BlockList();
  if (bits > (family === "ipv6" ? 128 : 32)) return () => false;
  block.addSubnet(address, bits, family);
  return (host) => isIP(host) !== 0 && block.check(host, isIP(host) === 6 ? "ipv6" : "ipv4");
}

function isLoopbackAddress(host: string): boolean {
  return host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
