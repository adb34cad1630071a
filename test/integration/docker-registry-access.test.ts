import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, describe, test } from "node:test";
import { hostPlatform } from "../../src/oci/platform.ts";
import { findDaemonProcess } from "../../src/runtime/docker/daemon-process.ts";
import { readDockerRegistryAccess } from "../../src/runtime/docker/registry/docker-registry-access.ts";
import { makeCertificates } from "../support/certificates.ts";
import { type FaultRegistry, type FaultRegistryOptions, startFaultRegistry } from "../support/fault-registry.ts";
import { makeImage, pushToRegistry } from "../support/image-maker.ts";
import { waitUntil } from "../support/processes.ts";
import { readImage } from "../support/read-image.ts";
import { startRegistry } from "../support/registry.ts";
import { AgentNode } from "../support/runtimes/agent-node.ts";
import type { DockerDaemon, DockerSettings } from "../support/runtimes/docker-daemon.ts";
import { dockerRuntimes } from "../support/runtimes/docker-fleet.ts";
import { file, tar } from "../support/tar-maker.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

/** The same daemon.json and certificates make dockerd and the agent ask the same servers. */

const proxyUser = "robot:canary-of-a-proxy";

/** dockerd trusts loopback whatever is configured, so what is said of other servers takes an address of this machine's own. */
const ownAddress = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;
const noAddress = ownAddress === undefined && "this machine has only loopback addresses";

/** Docker 28 with both stores, and 20.10, which has but one. */
const runtimes = (await dockerRuntimes()).flatMap((runtime) =>
  runtime.store === "containerd"
    ? (["containerd", "overlay2"] as const).map((store) => ({ runtime, store }))
    : [{ runtime, store: runtime.store }],
);

for (const { runtime, store } of runtimes) {
  const { name, version, reason } = runtime;
  describe(`the agent reaches registries as ${name} with the ${store} store does`, { skip: reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let a: FaultRegistry;
    let b: FaultRegistry;
    let strict: FaultRegistry;
    let certificates: string;

    before(async () => {
      const layout = await temporaryDirectory(scope, "access");
      certificates = await temporaryDirectory(scope, "access");
      makeCertificates(certificates, ownAddress === undefined ? [] : [ownAddress]);
      const image = await makeImage(layout, {
        layers: [{ tar: tar(file("file", randomBytes(500))) }],
        platform: hostPlatform(),
      });
      const start = async (tls?: FaultRegistryOptions["tls"]): Promise<FaultRegistry> => {
        const tags = { "a/b:v1": image.manifest };
        const registry = await startFaultRegistry({ layoutDirectory: layout, tags, ...(tls && { tls }) });
        scope.defer(() => registry.stop());
        return registry;
      };
      const [key = "", cert = "", ca = ""] = await Promise.all(
        ["server-key.pem", "server.pem", "ca.pem"].map((each) => readFile(join(certificates, each), "utf8")),
      );
      [a, b, strict] = [await start(), await start(), await start({ key, cert, ca, requestCert: true })];
    });
    after(() => scope.disposeAsync());

    const startDocker = (inner: Scope, settings: DockerSettings): Promise<DockerDaemon> =>
      runtime.start(inner, { store, ...settings });

    test("mirrors of Docker Hub, the next one where one fails", async () => {
      await using inner = new AsyncDisposableStack();
      const docker = await startDocker(inner, { configuration: { "registry-mirrors": [a.origin, b.origin] } });
      await assertSame(docker, "docker.io/a/b:v1", () => [served(a), served(b)]);
      const failing = { kind: "status", status: 503 } as const;
      a.fault(/./, failing, 1000);
      await assertSame(docker, "docker.io/a/b:v1", () => [served(a), served(b)]);
      a.mend();
    });

    test("a registry with TLS by its certificates in certs.d, where the daemon sees them", {
      skip: noAddress,
    }, async () => {
      await using inner = new AsyncDisposableStack();
      const host = await forward(inner, strict.host);
      const etc = await temporaryDirectory(inner, "etc");
      const folder = join(etc, "docker", "certs.d", host);
      await mkdir(folder, { recursive: true });
      const files = { "own.crt": "ca.pem", "me.cert": "client.pem", "me.key": "client-key.pem" };
      const docker = await startDocker(inner, { etc });
      await assertBothFail(docker, `${host}/a/b:v1`);
      for (const [to, from] of Object.entries(files)) await copyFile(join(certificates, from), join(folder, to));
      await assertSame(docker, `${host}/a/b:v1`, () => [served(strict)]);
    });

    test("plain HTTP only where a server is insecure, by its name or its address", { skip: noAddress }, async () => {
      await using inner = new AsyncDisposableStack();
      const host = await forward(inner, a.host);
      for (const insecure of [[], [host], [`${ownAddress}/32`]]) {
        await using one = new AsyncDisposableStack();
        const docker = await startDocker(one, { configuration: { "insecure-registries": insecure } });
        if (insecure.length === 0) await assertBothFail(docker, `${host}/a/b:v1`);
        else await assertSame(docker, `${host}/a/b:v1`, () => [served(a)]);
      }
    });

    test("proxies of daemon.json or of its process, with their passwords", async () => {
      await using inner = new AsyncDisposableStack();
      const { host, asked } = await startProxy(inner, a.host);
      const url = `http://${proxyUser}@${host}`;
      const isOld = version.startsWith("20.");
      const inFile = { proxies: { "http-proxy": url, "https-proxy": url, "no-proxy": "bypassed.example" } };
      const environment = { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: "bypassed.example" };
      const docker = await startDocker(inner, {
        configuration: { "insecure-registries": ["plain.example"], ...(!isOld && inFile) },
        ...(isOld && { environment }),
      });
      await assertSame(docker, "plain.example/a/b:v1", () => [...new Set(asked.splice(0))].sort());
      const access = await readDockerRegistryAccess(docker.address);
      assert.deepEqual(access.environment, environment);
      assert.deepEqual(access.problems, []);
    });

    test("mirrors of Docker Hub, by an agent that runs", async () => {
      await using inner = new AsyncDisposableStack();
      const registry = await startRegistry();
      inner.defer(() => registry.stop());
      const configuration = { "registry-mirrors": [registry.origin] };
      const { node, docker } = await AgentNode.startDocker(inner, runtime, { store, configuration });
      const { layout, tool } = node.images;
      await pushToRegistry(layout, tool.manifest, { origin: registry.origin, repository: "team/tool", tag: "v1" });
      const ref = "docker.io/team/tool:v1";
      await node.configure([{ ref }], { registries: [], docker: { overlay2: store === "overlay2" } });
      await node.startAgent();
      await node.untilWarm(ref);
      assert.equal(await docker.run(ref), "tool 1\n");
      assert.equal(await node.stop(), 0);
    });

    test("the settings of another process that calls itself dockerd do not count", async () => {
      await using inner = new AsyncDisposableStack();
      const docker = await startDocker(inner, {});
      const folder = await temporaryDirectory(inner, "impostor");
      await copyFile("/bin/sleep", join(folder, "dockerd"));
      const words = ["-c", 'exec 3>>"$0"; exec "$1" 300', join(docker.dataRoot, "own"), join(folder, "dockerd")];
      const impostor = spawn("sh", words, { stdio: "ignore" });
      const end = once(impostor, "exit");
      inner.defer(async () => {
        impostor.kill("SIGKILL");
        await end;
      });
      const { pid = 0 } = impostor;
      await waitUntil("it runs", async () => (await readFile(`/proc/${pid}/comm`, "utf8")) === "dockerd\n");
      // As a rule it is younger than the other one then.
      await docker.restart();
      assert.equal(await findDaemonProcess(docker.dataRoot, docker.address), docker.pid);
    });

    test("is known by daemon.json while the daemon is stopped", async () => {
      await using inner = new AsyncDisposableStack();
      const docker = await startDocker(inner, { configuration: { "registry-mirrors": [a.origin] } });
      await docker.stop();
      const daemonFile = join(docker.dataRoot, "..", "daemon.json");
      const access = await readDockerRegistryAccess(docker.address, {
        file: daemonFile,
        unit: "nodewarm-none.service",
      });
      assert.equal(access.isRunning, false);
      const endpoints = await access.endpoints("docker.io", () => {});
      assert.deepEqual(
        endpoints.map(({ origin }) => origin),
        [a.origin, "https://registry-1.docker.io"],
      );
    });
  });
}

/** Whether a registry gave a manifest since the last call. */
function served({ requests }: FaultRegistry): boolean {
  return requests.splice(0).some(({ path }) => path.includes("/manifests/"));
}

async function assertSame(docker: DockerDaemon, reference: string, look: () => readonly unknown[]): Promise<void> {
  look();
  await docker.docker("pull", reference);
  const byDocker = look();
  await docker.docker("rmi", reference);
  await fetchWith(docker, reference);
  assert.ok(byDocker.some(Boolean), "Docker asked somebody");
  assert.deepEqual(look(), byDocker);
}

async function assertBothFail(docker: DockerDaemon, reference: string): Promise<void> {
  await assert.rejects(docker.docker("pull", reference));
  await assert.rejects(fetchWith(docker, reference));
}

/** As the agent does. */
function fetchWith({ address }: DockerDaemon, reference: string): Promise<void> {
  return readImage(() => readDockerRegistryAccess(address), reference);
}

/** A port at this machine's own address that leads to another one; nothing of it leaves the machine. */
async function forward(scope: Scope, to: string): Promise<string> {
  const port = Number(new URL(`http://${to}`).port);
  const server = createServer((socket) => plug(socket, connect(port, "127.0.0.1")));
  server.listen(0, ownAddress);
  await once(server, "listening");
  scope.defer(async () => void server.close());
  return `${ownAddress}:${(server.address() as AddressInfo).port}`;
}

/** A proxy that sends everything to one server of plain HTTP, and notes what it is asked for and by whom. */
async function startProxy(scope: Scope, to: string): Promise<{ readonly host: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const note = (request: IncomingMessage, what: string) =>
    asked.push(`${what} ${Buffer.from(`${request.headers["proxy-authorization"]}`.slice(6), "base64")}`);
  const server = createHttpServer((request, response) => {
    const url = new URL(request.url ?? "");
    note(request, url.host);
    const upstream = httpRequest(`http://${to}${url.pathname}`, { method: request.method }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.end();
  });
  server.on("connect", (request, socket) => {
    note(request, `CONNECT ${request.url}`);
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    plug(socket, connect(Number(new URL(`http://${to}`).port), "127.0.0.1"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  scope.defer(async () => {
    server.close();
    server.closeAllConnections();
  });
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** What comes at one end goes out at the other; both end together. */
function plug(one: Duplex, other: Duplex): void {
  for (const end of [one, other])
    end.on("error", () => {
      one.destroy();
      other.destroy();
    });
  one.pipe(other).pipe(one);
}
