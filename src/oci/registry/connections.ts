import {
  type Agent,
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from "node:http";
import type { AgentOptions } from "node:https";
import { prepareDirectReads } from "./direct-reads.ts";
import type { TlsSettings } from "./endpoint.ts";
import type { ProxyChoice } from "./proxies.ts";

export type ConnectionOptions = {
  /** PEM, trusted in addition to those of Node and the system. */
  readonly authorities: readonly string[];
  /** Time without an answer's head. */
  readonly stallMs: number;
  readonly proxyFor: ProxyChoice;
};

export type SentRequest = {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
};

const connectTimeoutMs = 30_000;
/** Servers and what lies between close connections that are idle for longer. */
const idleMs = 4000;
/** `code` of the error when nothing comes within `stallMs`. */
export const noAnswerCode = "ERR_NO_ANSWER";

/** Connections with one set of TLS settings, kept open for further requests. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #tls: TlsSettings;
  readonly #agents = new Map<string, Promise<Agent>>();

  constructor(options: ConnectionOptions, tls: TlsSettings) {
    this.#options = options;
    this.#tls = tls;
  }

  /** Sends one request and waits for the head of the answer. Rejects with errors of Node, or one with `noAnswerCode`. */
  async send(url: URL, { method, headers, body, signal }: SentRequest): Promise<IncomingMessage> {
    const isTls = url.protocol === "https:";
    const agent = await this.#agent(isTls, this.#options.proxyFor(url));
    const request = isTls ? (await import("node:https")).request : httpRequest;
    const sent = request({
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port,
      path: `${url.pathname}${url.search}`,
      method,
      headers: headers as Record<string, string | string[]>,
      agent,
      signal,
    });
    const answer = answerTo(sent, this.#options.stallMs);
    sent.end(body);
    return answer;
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    for (const agent of agents) (await agent).destroy();
  }

  #agent(isTls: boolean, proxy: string | undefined): Promise<Agent> {
    const key = `${isTls} ${proxy}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      const proxyEnv = proxy === undefined ? undefined : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy };
      const options = { keepAlive: true, timeout: idleMs, ...(proxyEnv && { proxyEnv }) };
      agent = isTls ? this.#tlsAgent(options) : Promise.resolve(new HttpAgent(options));
      if (proxy === undefined) agent = agent.then(prepareDirectReads);
      this.#agents.set(key, agent);
    }
    return agent;
  }

  /** Loads TLS and the system's certificates here: they take 40 ms, which plain HTTP can do without. */
  async #tlsAgent(options: AgentOptions): Promise<Agent> {
    const { Agent: TlsAgent } = await import("node:https");
    const { getCACertificates } = await import("node:tls");
    const { authorities, client, skipVerify } = this.#tls;
    const known = [...getCACertificates("default"), ...getCACertificates("system")];
    return new TlsAgent({
      ...options,
      ca: [...new Set([...known, ...this.#options.authorities, ...authorities])],
      ...(client.length > 0 && {
        cert: client.map((each) => each.certificate),
        key: client.map((each) => each.key),
      }),
      ...(skipVerify && { rejectUnauthorized: false }),
    });
  }
}

function answerTo(request: ClientRequest, stallMs: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      request.destroy(Object.assign(new Error("no answer"), { code: noAnswerCode }));
    };
    let timer = setTimeout(giveUp, Math.min(connectTimeoutMs, stallMs));
    const connected = () => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, stallMs);
    };
    request.once("socket", (socket) => {
      if (socket.connecting) socket.once("connect", connected);
      else connected();
    });
    request.once("response", (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
    // Stays: a connection may break after the answer, too.
    request.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
