import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostPlatform } from "../../src/oci/platform.ts";
import { openCri } from "../../src/runtime/containerd/client/cri/cri-client.ts";
import { readRegistryAccess } from "../../src/runtime/containerd/registry/registry-access.ts";
import { makeCertificates } from "../support/certificates.ts";
import { type FaultRegistry, type FaultRegistryOptions, startFaultRegistry } from "../support/fault-registry.ts";
import { type MadeImage, makeImage } from "../support/image-maker.ts";
import { readImage } from "../support/read-image.ts";
import { listen } from "../support/registry.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** The same hosts.toml makes containerd and the agent ask the same servers for the same things. */

type Servers = {
  readonly a: FaultRegistry;
  readonly b: FaultRegistry;
  readonly tls: FaultRegistry;
  readonly strict: FaultRegistry;
};
type Case = {
  /** Host of the reference. Default: `registry.example`. */
  readonly host?: (servers: Servers) => string;
  /** Name of the folder. Default: the host. */
  readonly folder?: (servers: Servers) => string;
  readonly toml?: (servers: Servers) => string;
  /** 1.6 knows it not, or does otherwise. */
  readonly isNew?: true;
  /** Files of the test's certificates, by their names in the folder. */
  readonly files?: Readonly<Record<string, string>>;
};

const cases: Readonly<Record<string, Case>> = {
  "a mirror with headers": {
    toml: ({ a }) =>
      `[host."${a.origin}"]\ncapabilities = ["pull", "Resolve"]\n[host."${a.origin}".header]\nX-One = "1"\nx-two = ["2", "3"]`,
  },
  "a mirror that only pulls, before a server that resolves": {
    toml: ({ a, b }) => `server = "${b.origin}"\n[host."${a.origin}"]\ncapabilities = ["pull"]`,
  },
  "mirrors with paths of their own, and with slashes at the end": {
    toml: ({ a, b }) =>
      `[host."${a.origin}/cache"]\n[host."${a.origin}/other/"]\noverride_path = true\n[host."${b.origin}/v2/"]`,
  },
  "a mirror whose path is the API's root": {
    toml: ({ a }) => `[host."${a.origin}/v2"]\noverride_path = true`,
  },
  "the folder for all other hosts": { folder: () => "_default", toml: ({ a }) => `[host."${a.origin}"]` },
  "the registry itself, on loopback": { isNew: true, host: ({ a }) => a.host, toml: () => '[header]\nX-One = "1"' },
  "the registry itself, as its server": { host: ({ a }) => a.host, toml: ({ a }) => `server = "${a.origin}"` },
  "a port in the folder's name": {
    host: () => "registry.example:5000",
    folder: () => "registry.example_5000_",
    toml: ({ a }) => `[host."${a.origin}"]`,
  },
  "TLS with authorities in a list and pairs of client certificates": {
    toml: ({ strict }) => `[host."${strict.origin}"]\nca = ["ca.pem"]\nclient = [["client.pem", "client-key.pem"]]`,
    files: { "ca.pem": "ca.pem", "client.pem": "client.pem", "client-key.pem": "client-key.pem" },
  },
  "a certificate and its key in one file": {
    toml: ({ strict }) => `[host."${strict.origin}"]\nca = "ca.pem"\nclient = "both.pem"`,
    files: { "ca.pem": "ca.pem", "both.pem": "both.pem" },
  },
  "TLS without a look at the certificate": { toml: ({ tls }) => `[host."${tls.origin}"]\nskip_verify = true` },
  "plain HTTP with something said of TLS": { toml: ({ a }) => `[host."${a.origin}"]\nskip_verify = true` },
  "a server of TLS that is named with http": {
    isNew: true,
    toml: ({ tls }) => `[host."${tls.origin.replace("https:", "http:")}"]\nskip_verify = true`,
  },
  "nothing at all, for TLS on loopback": { isNew: true, host: ({ tls }) => tls.host },
  "nothing at all, for plain HTTP on loopback": { host: ({ a }) => a.host },
  "certificate files without hosts.toml": {
    isNew: true,
    host: ({ strict }) => strict.host,
    toml: () => "",
    files: { "own.crt": "ca.pem", "me.cert": "client.pem", "me.key": "client-key.pem" },
  },
  "a file that is broken": { host: ({ a }) => a.host, toml: () => "[host" },
};

for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  describe(`the agent reaches registries as ${runtime.name} does`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let servers: Servers;
    let hosts: string;
    let certificates: string;

    before(async () => {
      const layout = await temporaryDirectory(scope, "access");
      certificates = await temporaryDirectory(scope, "access");
      makeCertificates(certificates);
      const pem = (name: string) => readFile(join(certificates, name), "utf8");
      await writeFile(join(certificates, "both.pem"), (await pem("client.pem")) + (await pem("client-key.pem")));
      const image: MadeImage = await makeImage(layout, {
        layers: [{ tar: tar(file("file", randomBytes(500))) }],
        platform: hostPlatform(),
      });
      const tags = { "a/b:v1": image.manifest };
      const start = async (tls?: FaultRegistryOptions["tls"]): Promise<FaultRegistry> => {
        const registry = await startFaultRegistry({ layoutDirectory: layout, tags, ...(tls && { tls }) });
        scope.defer(() => registry.stop());
        return registry;
      };
      const tls = { key: await pem("server-key.pem"), cert: await pem("server.pem") };
      const strict = { ...tls, ca: await pem("ca.pem"), requestCert: true };
      servers = { a: await start(), b: await start(), tls: await start(tls), strict: await start(strict) };
      hosts = await temporaryDirectory(scope, "hosts");
      daemon = await runtime.start(scope, { registryHosts: hosts });
    });
    after(() => scope.disposeAsync());

    /** What the servers saw since they were asked last: each question once, with the headers that were configured. */
    function seen(): string[] {
      const all = Object.entries(servers).flatMap(([name, { requests }]) =>
        requests.splice(0).map(({ path, headers }) => {
          const own = ["x-one", "x-two"].flatMap((header) => (headers[header] ? `${header}=${headers[header]}` : []));
          return [name, path, ...own].join(" ");
        }),
      );
      return [...new Set(all)].sort();
    }

    for (const [name, { host, folder, toml, isNew, files = {} }] of Object.entries(cases)) {
      const skip = isNew && runtime.version.startsWith("1.6.") ? "1.6 does otherwise" : false;
      test(name, { skip }, async () => {
        const registry = host?.(servers) ?? "registry.example";
        const directory = join(hosts, folder?.(servers) ?? registry);
        await rm(hosts, { recursive: true });
        await mkdir(hosts);
        if (toml) {
          await mkdir(directory);
          for (const [to, from] of Object.entries(files)) await copyFile(join(certificates, from), join(directory, to));
          const text = toml(servers);
          if (text !== "") await writeFile(join(directory, "hosts.toml"), text);
        }
        await compare(daemon, `${registry}/a/b:v1`);
      });
    }

    test("mirrors in the old form, with certificates, where the version has them", {
      skip: !runtime.version.startsWith("1.") && "only credentials are left of it",
    }, async () => {
      await using own = new AsyncDisposableStack();
      const old = await runtime.start(own);
      const configuration = join(old.directory, "config.toml");
      const registry = 'plugins."io.containerd.grpc.v1.cri".registry';
      const { a, b, strict } = servers;
      const text = (await readFile(configuration, "utf8")).replace(/^config_path = .*$/m, 'config_path = ""');
      await old.stop();
      await writeFile(
        configuration,
        `${text}
[${registry}.mirrors."registry.example"]
endpoint = ["${a.origin}/cache", "${strict.origin}"]
[${registry}.mirrors."*"]
endpoint = ["${b.origin}"]
[${registry}.configs."${strict.host}".tls]
ca_file = "${certificates}/ca.pem"
cert_file = "${certificates}/client.pem"
key_file = "${certificates}/client-key.pem"
`,
      );
      await old.start();
      for (const host of ["registry.example", "other.example", b.host]) await compare(old, `${host}/a/b:v1`);
    });

    test("the proxies of its process, and what they are not for", async () => {
      await using own = new AsyncDisposableStack();
      const asked = new Set<string>();
      const proxy = await listen((request, response) => {
        const url = new URL(request.url ?? "");
        asked.add(`${url.host}${url.pathname}${url.search}`);
        const upstream = httpRequest(`${servers.a.origin}${url.pathname}`, { method: request.method }, (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        });
        upstream.end();
      });
      own.defer(() => proxy.stop());
      const environment = { HTTP_PROXY: `http://${proxy.host}`, NO_PROXY: "10.0.0.0/8,.bypassed.example" };
      const old = await runtime.start(own, { registryHosts: hosts, environment });
      await rm(hosts, { recursive: true });
      await mkdir(join(hosts, "registry.example"), { recursive: true });
      const toml = `[host."http://x.bypassed.example"]\n[host."http://mirror.example"]\n[host."${servers.a.origin}"]`;
      await writeFile(join(hosts, "registry.example", "hosts.toml"), toml);
      await compare(old, "registry.example/a/b:v1", () => {
        const all = [...asked].sort();
        asked.clear();
        return all;
      });
    });

    /** Pulls by both; what the servers see must be the same. */
    async function compare(by: ContainerdDaemon, reference: string, look = seen): Promise<void> {
      look();
      using cri = openCri(by.address);
      await cri.images.pull(reference);
      const byContainerd = look();
      await cri.images.remove(reference);
      await readImage(() => readRegistryAccess(by.address), reference);
      assert.ok(byContainerd.length >= 4, `${byContainerd}`);
      assert.deepEqual(look(), byContainerd);
    }
  });
}
