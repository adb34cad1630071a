import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";

/** Debian's docker-registry on a loopback port, behind a proxy that counts. */
export type TestRegistry = {
  /** `127.0.0.1:PORT` of the counting proxy. */
  readonly host: string;
  readonly origin: string;
  /** `127.0.0.1:PORT` of the registry itself, for runs where the proxy would cost time. */
  readonly directHost: string;
  /** Root folder of the registry's storage. */
  readonly directory: string;
  /** What came through the proxy, in the order of the answers. */
  readonly requests: CountedRequest[];
  /** Sum of body bytes sent to clients, of the requests whose path matches. */
  sentBytes(path?: RegExp): number;
  /** Forgets the requests seen so far. */
  resetCounts(): void;
  stop(): Promise<void>;
};

export type CountedRequest = {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Body bytes sent to the client. */
  readonly bytes: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
};

export type RegistryOptions = {
  /** Ask for Basic auth with `basicUser`. Default: false. */
  readonly basicAuth?: boolean;
  /** Keep the registry's storage here, and leave it at `stop`. Default: a temporary folder. */
  readonly directory?: string;
};

/** The only user of a registry with Basic auth. */
export const basicUser = { username: "tester", password: "correct horse" };
const basicUserHash = "$2b$04$0K0Xj6eFJV5TLL/ApHNsWOIIJsMkN8kMcS/ZsaYuS2LAhKXe1toLW";

export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const work = await mkdtemp(join(tmpdir(), "nodewarm-registry-"));
  const directory = options.directory ?? join(work, "storage");
  const passwords = join(work, "htpasswd");
  await writeFile(passwords, `${basicUser.username}:${basicUserHash}\n`);
  const configuration = {
    version: 0.1,
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: directory }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0" },
    validation: { manifests: { urls: { allow: ["^https?://"] } } },
    ...(options.basicAuth && { auth: { htpasswd: { realm: "test", path: passwords } } }),
  };
  const file = join(work, "registry.yml");
  await writeFile(file, JSON.stringify(configuration));
  // OTEL_TRACES_EXPORTER: newer versions of the registry would look for a collector otherwise.
  const environment = { ...process.env, OTEL_TRACES_EXPORTER: "none" };
  const child = spawn("docker-registry", ["serve", file], { stdio: ["ignore", "ignore", "pipe"], env: environment });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  // A test that is cut short must not leave it behind.
  const killChild = () => child.kill("SIGKILL");
  process.once("exit", killChild);
  const lines: string[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (lines.length < 100) lines.push(line);
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(line);
      if (found) resolve(Number(found[1]));
    });
    void exited.then(() => reject(new Error(`docker-registry did not start:\n${lines.join("\n")}`)));
  });
  const directHost = `127.0.0.1:${port}`;
  const requests: CountedRequest[] = [];
  const proxy = await listen((incoming, outgoing) => forward(incoming, outgoing, port, requests));
  return {
    host: proxy.host,
    origin: `http://${proxy.host}`,
    directHost,
    directory,
    requests,
    sentBytes: (path = /./) =>
      requests.filter((each) => path.test(each.path)).reduce((sum, each) => sum + each.bytes, 0),
    resetCounts: () => {
      requests.length = 0;
    },
    async stop() {
      await proxy.stop();
      killChild();
      await exited;
      process.removeListener("exit", killChild);
      await rm(work, { recursive: true, force: true });
    },
  };
}

/** An HTTP server on a free loopback port. */
export async function listen(
  handler: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
): Promise<{ host: string; server: Server; stop: () => Promise<void> }> {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, server, stop };
}

function forward(incoming: IncomingMessage, outgoing: ServerResponse, port: number, requests: CountedRequest[]): void {
  const { method = "GET", url = "/", headers } = incoming;
  // The host header stays, so that the registry's Location headers lead through the proxy.
  const upstream = request({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    const counted = { method, path: url, status: answer.statusCode ?? 502, bytes: 0, headers };
    requests.push(counted);
    answer.on("data", (chunk: Buffer) => {
      counted.bytes += chunk.length;
    });
    outgoing.writeHead(counted.status, answer.headers);
    pipeline(answer, outgoing).catch(() => outgoing.destroy());
  });
  upstream.on("error", () => outgoing.destroy());
  pipeline(incoming, upstream).catch(() => upstream.destroy());
  outgoing.once("close", () => upstream.destroy());
}
