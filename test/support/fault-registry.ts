import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { blobPath } from "./image-maker.ts";

/** An in-process registry over an OCI layout folder that misbehaves as told. */
export type FaultRegistry = {
  readonly host: string;
  readonly origin: string;
  /** Every request, in order of arrival. */
  readonly requests: SeenRequest[];
  /** The next `times` requests whose path (with query) matches go wrong this way. Earlier faults go first. */
  fault(path: RegExp, fault: Fault, times?: number): void;
  /** Nothing goes wrong any more but what is under way. */
  mend(): void;
  /** Makes every token that was handed out invalid. */
  revokeTokens(): void;
  stop(): Promise<void>;
};

export type SeenRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

export type Fault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  | { readonly kind: "redirect"; readonly location: string; readonly status?: number }
  /** Sends so many bytes of the answer, then nothing more. */
  | { readonly kind: "stall"; readonly afterBytes: number }
  /** Sends so many bytes of the answer, then breaks the connection. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Sends a few bytes now and then. */
  | { readonly kind: "drip"; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: "wrong-bytes" }
  /** A whole answer (by its own length) with so many bytes less, or more. */
  | { readonly kind: "resized"; readonly byBytes: number; readonly withLength: boolean }
  | { readonly kind: "ignore-range" }
  /** Says that the whole has another length than before. */
  | { readonly kind: "changed-length"; readonly total: number }
  /** Zeros without end. */
  | { readonly kind: "endless" };

export type FaultRegistryOptions = {
  readonly layoutDirectory: string;
  /** What `repository:tag` stands for; digests are found in the layout for any repository. */
  readonly tags: Readonly<Record<string, Descriptor>>;
  readonly auth?: {
    readonly kind: "basic" | "bearer";
    /** Without them, anyone gets a token. */
    readonly username?: string;
    readonly password?: string;
    /** Accepted by the token server's POST form. */
    readonly identityToken?: string;
    readonly expiresInSeconds?: number;
    /** Default: this server's `/token`. */
    readonly realm?: string;
  };
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string; readonly requestCert?: boolean };
};

export async function startFaultRegistry(options: FaultRegistryOptions): Promise<FaultRegistry> {
  const requests: SeenRequest[] = [];
  const faults: { path: RegExp; fault: Fault; left: number }[] = [];
  const state: State = { options, origin: "", tokens: new Set(), tokenCount: 0 };
  const listener: RequestListener = async (request, response) => {
    const path = request.url ?? "/";
    const body = await text(request).catch(() => "");
    const seen = { method: request.method ?? "", path, headers: request.headers, body };
    requests.push(seen);
    const planned = faults.find((each) => each.left > 0 && each.path.test(path));
    if (planned) planned.left--;
    await answer(state, seen, request, response, planned?.fault);
  };
  const server = options.tls ? createTlsServer({ ...options.tls }, listener) : createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  state.origin = `${options.tls ? "https" : "http"}://${host}`;
  return {
    host,
    origin: state.origin,
    requests,
    fault: (path, fault, times = 1) => faults.push({ path, fault, left: times }),
    mend: () => void faults.splice(0),
    revokeTokens: () => state.tokens.clear(),
    async stop() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

type State = {
  readonly options: FaultRegistryOptions;
  origin: string;
  readonly tokens: Set<string>;
  tokenCount: number;
};
type Content = { readonly bytes: Buffer; readonly headers: Record<string, string> };

async function answer(
  state: State,
  seen: SeenRequest,
  request: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  if (fault?.kind === "status") {
    response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    return;
  }
  if (fault?.kind === "redirect") {
    response.writeHead(fault.status ?? 307, { location: fault.location }).end();
    return;
  }
  if (seen.path.startsWith("/token")) {
    giveToken(state, seen, response);
    return;
  }
  if (!isAllowed(state, seen)) {
    response.writeHead(401, { "www-authenticate": challenge(state) });
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    return;
  }
  const content = findContent(state, new URL(seen.path, state.origin).pathname);
  if (!content) {
    response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    return;
  }
  await send(content, request, response, fault);
}

async function send(
  { bytes, headers }: Content,
  request: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  const range = fault?.kind === "ignore-range" ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const total = fault?.kind === "changed-length" ? fault.total : bytes.length;
  if (range && start >= total) {
    response.writeHead(416, { "content-range": `bytes */${total}` }).end();
    return;
  }
  const end = range?.[2] ? Math.min(total, Number(range[2]) + 1) : total;
  let body = Buffer.from(bytes.subarray(start, end));
  if (fault?.kind === "wrong-bytes") body[0] = (body[0] ?? 0) ^ 1;
  if (fault?.kind === "resized") {
    body = fault.byBytes < 0 ? body.subarray(0, fault.byBytes) : Buffer.concat([body, Buffer.alloc(fault.byBytes)]);
  }
  const hasLength = fault?.kind !== "endless" && (fault?.kind !== "resized" || fault.withLength);
  response.writeHead(range ? 206 : 200, {
    ...headers,
    ...(range && { "content-range": `bytes ${start}-${end - 1}/${total}` }),
    ...(hasLength && { "content-length": fault?.kind === "changed-length" ? end - start : body.length }),
  });
  response.flushHeaders();
  switch (fault?.kind) {
    case "stall":
      response.write(body.subarray(0, fault.afterBytes));
      return;
    case "cut":
      response.write(body.subarray(0, fault.afterBytes), () => setTimeout(() => response.destroy(), 20));
      return;
    case "drip":
      for (let sent = 0; sent < body.length && !response.destroyed; sent += fault.bytes) {
        response.write(body.subarray(sent, sent + fault.bytes));
        await sleep(fault.everyMs);
      }
      response.end();
      return;
    case "endless":
      while (!response.destroyed) {
        await new Promise((resolve) => response.write(Buffer.alloc(1 << 20), resolve));
      }
      return;
    default:
      response.end(body);
  }
}

function findContent({ options }: State, path: string): Content | undefined {
  const [, repository, kind, reference = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(path) ?? [];
  const target = options.tags[`${repository}:${reference}`];
  const digest = target?.digest ?? (reference.startsWith("sha256:") ? (reference as `sha256:${string}`) : undefined);
  if (digest === undefined) return undefined;
  let bytes: Buffer;
  try {
    bytes = readFileSync(blobPath(options.layoutDirectory, digest));
  } catch {
    return undefined;
  }
  if (kind === "blobs") return { bytes, headers: { "content-type": "application/octet-stream" } };
  const mediaType = target?.mediaType ?? String(JSON.parse(bytes.toString()).mediaType);
  return { bytes, headers: { "content-type": mediaType, "docker-content-digest": digest } };
}

function isAllowed({ options: { auth }, tokens }: State, { headers }: SeenRequest): boolean {
  if (!auth) return true;
  const [scheme, value = ""] = (headers.authorization as string | undefined)?.split(" ") ?? [];
  if (auth.kind === "bearer") return scheme === "Bearer" && tokens.has(value);
  return scheme === "Basic" && Buffer.from(value, "base64").toString() === `${auth.username}:${auth.password}`;
}

function challenge({ options: { auth }, origin }: State): string {
  if (auth?.kind === "basic") return 'Basic realm="test"';
  return `Bearer realm="${auth?.realm ?? `${origin}/token`}",service="test, service"`;
}

function giveToken(state: State, seen: SeenRequest, response: ServerResponse): void {
  const { auth } = state.options;
  const basic = `Basic ${Buffer.from(`${auth?.username}:${auth?.password}`).toString("base64")}`;
  const mayHave =
    seen.method === "POST"
      ? new URLSearchParams(seen.body).get("refresh_token") === auth?.identityToken && auth?.identityToken !== undefined
      : auth?.username === undefined || seen.headers.authorization === basic;
  if (!mayHave) {
    response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}');
    return;
  }
  state.tokenCount++;
  const token = `token-${state.tokenCount}`;
  state.tokens.add(token);
  const key = seen.method === "POST" ? "access_token" : "token";
  response.end(JSON.stringify({ [key]: token, expires_in: auth?.expiresInSeconds ?? 300 }));
}
