import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import type { z } from "zod";
import { CodedError } from "../../oci/coded-error.ts";
import type { AgentControl } from "./control.ts";
import {
  type ControlFailure,
  controlPaths,
  disksRequestSchema,
  ejectRequestSchema,
  injectRequestSchema,
  maxRequestBytes,
  type StatusAnswer,
} from "./control-protocol.ts";
import { EventLines } from "./event-lines.ts";

/** Signals a request that makes no sense; `status` is that of HTTP. */
class BadRequest extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type ControlServerOptions = {
  /** Path of the socket; its folder is made where it is missing. One agent has the state folder, so that a socket found here is left over. */
  readonly path: string;
  readonly control: AgentControl;
  readonly version: string;
};

/** Listens until it is disposed of. The socket appears under its name only when nobody but root can open it. */
export async function serveControl({ path, control, version }: ControlServerOptions): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    answer(control, version, request, response).catch((error) => refuse(response, error));
  });
  server.requestTimeout = 10_000;
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.new`;
  await rm(partial, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(partial, resolve);
  });
  // One connection that cannot be taken, for want of descriptors, ends nothing else.
  server.on("error", () => {});
  await chmod(partial, 0o600);
  await rename(partial, path);
  return {
    async [Symbol.asyncDispose]() {
      await rm(path, { force: true });
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  control: AgentControl,
  version: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method, url } = request;
  if (url === controlPaths.status) {
    mustBe(method, "GET");
    const body: StatusAnswer = { version, runtimes: control.status() };
    response.setHeader("content-type", "application/json").end(JSON.stringify(body));
  } else if (url === controlPaths.disks) {
    const { runtime } = await readRequest(request, disksRequestSchema);
    await stream(response, async ({ signal }) => ({ disks: await control.disks(runtime, { signal }) }));
  } else if (url === controlPaths.inject) {
    const { images, ...rest } = await readRequest(request, injectRequestSchema);
    await stream(response, (options) => control.inject({ ...rest, ...(images && { images }) }, options));
  } else if (url === controlPaths.eject) {
    const asked = await readRequest(request, ejectRequestSchema);
    await stream(response, (options) => control.eject(asked, options));
  } else {
    throw new BadRequest(404, `there is no ${url}`);
  }
}

function mustBe(method: string | undefined, wanted: string): void {
  if (method !== wanted) throw new BadRequest(405, `use ${wanted}`);
}

async function readRequest<Schema extends z.ZodType>(
  request: IncomingMessage,
  schema: Schema,
): Promise<z.output<Schema>> {
  mustBe(request.method, "POST");
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxRequestBytes) throw new BadRequest(413, `a request is at most ${maxRequestBytes} bytes`);
    chunks.push(chunk);
  }
  let document: unknown;
  try {
    document = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new BadRequest(400, "the request is not JSON");
  }
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new BadRequest(400, `${issue?.path.join(".") || "the request"}: ${issue?.message}`);
}

type StreamOptions = {
  readonly signal: AbortSignal;
  readonly onEvent: (event: object) => void;
};

/** Lines while it works, so that a person sees progress, as far as they are read; the status code says nothing about how it ended. */
async function stream(response: ServerResponse, work: (options: StreamOptions) => Promise<object>): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort(new Error("the caller hung up")));
  response.setHeader("content-type", "application/x-ndjson").flushHeaders();
  const lines = new EventLines(response);
  try {
    lines.end({ report: await work({ signal: gone.signal, onEvent: (event) => lines.event(event) }) });
  } catch (error) {
    lines.end({ error: failureOf(error) });
  }
}

function failureOf(error: unknown): ControlFailure {
  const code = error instanceof CodedError ? error.code : "unexpected";
  return { code, message: error instanceof Error ? error.message : String(error) };
}

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = error instanceof BadRequest ? error.status : 500;
  response.statusCode = status;
  response.setHeader("content-type", "application/json").setHeader("connection", "close");
  response.end(JSON.stringify({ error: failureOf(error) }));
}
