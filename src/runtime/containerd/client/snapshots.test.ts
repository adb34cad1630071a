import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import { join } from "node:path";
import { test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { RuntimeError } from "../../runtime-error.ts";
import { Channel } from "./channel.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import { snapshotReader, snapshotWriter } from "./snapshots.ts";

/** A containerd that answers every call with an error. */
async function failing(scope: Scope, status: number, message: string): Promise<Channel> {
  const server = createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    const headers = { ":status": 200, "content-type": "application/grpc", "grpc-status": `${status}` };
    stream.respond({ ...headers, "grpc-message": encodeURIComponent(message) }, { endStream: true });
  });
  const address = join(await temporaryDirectory(scope, "sock"), "s");
  server.listen(address);
  await once(server, "listening");
  const connection = new GrpcConnection(address);
  scope.defer(async () => {
    connection.close();
    server.close();
  });
  return new Channel(connection);
}

const [unknown, unavailable] = [2, 14];

/** What containerd 1.6 to 2.4 say when the program of a snapshotter is killed, or was never there. */
const said = [
  [unavailable, "connection closed: unavailable"],
  [unavailable, "error reading from server: EOF: unavailable"],
  [
    unknown,
    'connection error: desc = "transport: Error while dialing: dial unix /run/s: connect: no such file or directory"',
  ],
] as const;

for (const [status, message] of said)
  test(`a snapshotter whose program is not there is named: ${message}`, async () => {
    await using scope = new AsyncDisposableStack();
    const channel = await failing(scope, status, message);
    const isNamed = ({ code, message: text }: RuntimeError) =>
      code === "unavailable" &&
      text.startsWith('the snapshotter "lazy" does not answer containerd: start its program (') &&
      text.includes(message);
    const reader = snapshotReader(channel, "lazy");
    await assert.rejects(Array.fromAsync(reader.list()), isNamed);
    await assert.rejects(reader.stat("sha256:0"), isNamed);
    await assert.rejects(snapshotWriter(channel, "lazy").remove("sha256:0"), isNamed);
  });

test("what a snapshotter itself answers stays as it is", async () => {
  await using scope = new AsyncDisposableStack();
  const channel = await failing(scope, unavailable, "snapshot sha256:0 is locked");
  await assert.rejects(snapshotReader(channel, "lazy").stat("sha256:0"), {
    code: "unavailable",
    message: `containerd on ${channel.address}, Snapshots/Stat: snapshot sha256:0 is locked`,
  });
});
