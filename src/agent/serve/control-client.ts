import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import type { DiskStatus, EjectEvent, EjectReport, InjectEvent, InjectReport } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import type { ControlOptions, EjectRequest, InjectRequest } from "./control.ts";
import { type ControlLine, controlPaths, type DisksReport, type StatusAnswer } from "./control-protocol.ts";

/** The agent that listens at a socket. Of events that are not taken in time the oldest are left out. */
export interface AgentClient {
  status(options: { readonly signal: AbortSignal }): Promise<StatusAnswer>;
  disks(runtime: string, options: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]>;
  inject(request: InjectRequest, options: ControlOptions<InjectEvent>): Promise<InjectReport>;
  eject(request: EjectRequest, options: ControlOptions<EjectEvent>): Promise<EjectReport>;
}

/** Codes of `connect(2)` that say that nobody listens: no socket, or one that an agent left when it was killed. */
const nobody = new Set(["ENOENT", "ECONNREFUSED", "ENOTDIR"]);

/**
 * Asks the agent at `path`; `undefined` when none runs there. Its calls throw `AgentError` `agent-failed` with what the agent says, and the reason
 * of their signal. Throws `EACCES` of `connect(2)` for those who are not root.
 */
export async function findAgent(path: string, signal: AbortSignal): Promise<AgentClient | undefined> {
  const client = agentClient(path);
  try {
    await client.status({ signal });
    return client;
  } catch (error) {
    if (error instanceof Error && "code" in error && nobody.has(String(error.code))) return undefined;
    throw error;
  }
}

function agentClient(path: string): AgentClient {
  return {
    async status({ signal }) {
      const answer = await send(path, "GET", controlPaths.status, undefined, signal);
      return JSON.parse(await readAll(answer)) as StatusAnswer;
    },
    async disks(runtime, options) {
      return (await work<never, DisksReport>(path, controlPaths.disks, { runtime }, options)).disks;
    },
    inject: (asked, options) => work<InjectEvent, InjectReport>(path, controlPaths.inject, asked, options),
    eject: (asked, options) => work<EjectEvent, EjectReport>(path, controlPaths.eject, asked, options),
  };
}

async function work<Event, Report>(
  path: string,
  url: string,
  asked: object,
  { signal, onEvent }: ControlOptions<Event>,
): Promise<Report> {
  const answer = await send(path, "POST", url, JSON.stringify(asked), signal);
  try {
    for await (const text of createInterface({ input: answer })) {
      const line = JSON.parse(text) as ControlLine<Event, Report>;
      if ("event" in line) onEvent?.(line.event);
      else if ("report" in line) return line.report;
      else if ("error" in line) throw new AgentError("agent-failed", line.error.message);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AgentError) throw error;
    throw stopped(path, error);
  } finally {
    answer.destroy();
  }
  signal.throwIfAborted();
  throw stopped(path);
}

function stopped(path: string, cause?: unknown): AgentError {
  const message = `the agent at ${path} stopped meanwhile; it goes on when it is started again`;
  return new AgentError("agent-failed", message, { cause });
}

async function send(
  path: string,
  method: string,
  url: string,
  body: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request({ socketPath: path, path: url, method, signal, agent: false }, resolve);
    sent.once("error", (error) => reject(signal.aborted ? signal.reason : error));
    sent.end(body);
  });
  if (answer.statusCode === 200) return answer;
  const text = await readAll(answer);
  throw new AgentError("agent-failed", `the agent at ${path} refuses: ${messageIn(text)}`);
}

function messageIn(text: string): string {
  try {
    const message: unknown = JSON.parse(text)?.error?.message;
    if (typeof message === "string") return message;
  } catch {
    // Not ours; shown as it is.
  }
  return text.slice(0, 500);
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
