import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Session,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** A socket that leads to that of a containerd. */
export type EventProxy = {
  readonly address: string;
  /** While true the events of subscriptions are taken and not given on; all else goes through. */
  swallows: boolean;
};

export async function startEventProxy(scope: Scope, address: string): Promise<EventProxy> {
  const proxy = { address: join(await temporaryDirectory(scope, "proxy"), "s"), swallows: false };
  const sessions = new Set<Http2Session | ClientHttp2Session>();
  const server = createServer();
  server.on("session", (session) => {
    const upstream = connect("http://localhost", { createConnection: () => connectSocket(address) });
    for (const each of [session, upstream]) {
      sessions.add(each);
      each.on("error", () => {});
    }
    session.once("close", () => upstream.destroy());
    upstream.once("close", () => session.destroy());
    session.on("stream", (stream, headers) => {
      const call = upstream.request(headers);
      const isSubscription = String(headers[":path"]).endsWith("/Subscribe");
      let trailers: IncomingHttpHeaders = {};
      stream.on("error", () => {});
      call.on("error", () => {});
      stream.on("data", (bytes) => call.write(bytes));
      stream.on("end", () => call.end());
      stream.once("close", () => call.destroy());
      call.on("response", ({ ...answer }) => {
        if (stream.destroyed) return;
        stream.respond(answer, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      });
      call.on("trailers", (received) => {
        trailers = received;
      });
      call.on("data", (bytes) => {
        if (!(isSubscription && proxy.swallows) && !stream.destroyed) stream.write(bytes);
      });
      call.on("end", () => stream.end());
    });
  });
  server.listen(proxy.address);
  await once(server, "listening");
  scope.defer(async () => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return proxy;
}
