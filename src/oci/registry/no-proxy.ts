/**
 * Whether `NO_PROXY` names the host of `url`, as other clients read it: entries between commas or blanks, each `*`, a host with
 * its subdomains (`example.com`, `.example.com`), only its subdomains (`*.example.com`) or an address, with or without a port.
 */
export function isProxyBypassed(url: URL, noProxy: string): boolean {
  const host = plainHost(url.hostname);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return noProxy
    .split(/[,\s]+/)
    .filter(Boolean)
    .some((entry) => {
      const [, name = "", wantedPort] = /^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry) ?? [];
      if (name === "" || (wantedPort !== undefined && wantedPort !== port)) return false;
      if (name === "*") return true;
      const wanted = plainHost(name.replace(/^\*?\./, ""));
      return (host === wanted && !name.startsWith("*")) || host.endsWith(`.${wanted}`);
    });
}

function plainHost(host: string): string {
  return host
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/(.)\.$/, "$1")
    .toLowerCase();
}
