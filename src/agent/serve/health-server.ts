import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AgentError } from "../agent-error.ts";

/** What probes and Prometheus ask. */
export type Health = {
  /** The loop turns: `undefined`, or what is wrong. */
  readonly problem: () => string | undefined;
  /** Workloads may come, and why (not). */
  readonly gate: () => { readonly isReady: boolean; readonly reason: string };
  /** In the text form of Prometheus. */
  readonly metrics: () => string;
};

export type HealthServer = AsyncDisposable & {
  /** Where it listens: with the port that the system gave where 0 was asked for. */
  readonly address: string;
};

/** Serves `/healthz`, `/readyz` and `/metrics` at `HOST:PORT` until it is disposed of. Throws `AgentError` `invalid-configuration`. */
export async function serveHealth(listen: string, health: Health): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const { status, body } = answer(request.method, request.url ?? "", health);
    response.statusCode = status;
    response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8").end(body);
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  const { host, port } = parseAddress(listen);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const message = `cannot listen at ${listen}: ${cause.message}; choose another address with --listen or spec.listen`;
      reject(new AgentError("invalid-configuration", message, { cause }));
    });
    server.listen({ port, ...(host !== "" && { host }) }, resolve);
  });
  // One connection that cannot be taken, for want of descriptors, ends nothing else.
  server.on("error", () => {});
  const { address, port: given, family } = server.address() as AddressInfo;
  return {
    address: family === "IPv6" ? `[${address}]:${given}` : `${address}:${given}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

type Answer = { readonly status: number; readonly body: string };

function answer(method: string | undefined, url: string, health: Health): Answer {
  if (method !== "GET" && method !== "HEAD") return { status: 405, body: "use GET\n" };
  switch (url.split("?", 1)[0]) {
    case "/healthz": {
      const problem = health.problem();
      return problem === undefined ? { status: 200, body: "ok\n" } : { status: 503, body: `${problem}\n` };
    }
    case "/readyz": {
      const { isReady, reason } = health.gate();
      return { status: isReady ? 200 : 503, body: `${reason}\n` };
    }
    case "/metrics":
      return { status: 200, body: health.metrics() };
    default:
      return { status: 404, body: "there are /healthz, /readyz and /metrics\n" };
  }
}

/** `HOST:PORT`, `[ADDRESS]:PORT` or `:PORT`. */
function parseAddress(listen: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new AgentError("invalid-configuration", `"${listen}" is no address: give HOST:PORT, such as 127.0.0.1:9470`);
  return { host: match[1] ?? match[2] ?? "", port };
}
