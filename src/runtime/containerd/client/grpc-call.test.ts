import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { RuntimeError, type RuntimeErrorCode } from "../../runtime-error.ts";
import { Channel } from "./channel.ts";
import { type ContainerdClient, openContainerd } from "./containerd-client.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import { frame } from "./grpc-frames.ts";
import { encode, string } from "./message.ts";
import { socketFailure } from "./socket-failure.ts";

/** What happens when nobody, somebody else, or something broken answers on the socket. */

const textMessage = { text: string(1) };
const method = { name: "test.Test/Call", request: textMessage, response: textMessage };
const okHeaders = { ":status": 200, "content-type": "application/grpc" };

async function listen(scope: Scope, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket));
  const address = join(await temporaryDirectory(scope, "sock"), "s");
  server.listen(address);
  await once(server, "listening");
  scope.defer(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return address;
}

/** A gRPC server whose every call is handled by `handle`. */
async function listenGrpc(scope: Scope, handle: (stream: ServerHttp2Stream) => void): Promise<string> {
  const server = createHttp2Server();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    handle(stream);
  });
  return listen(scope, server);
}

function answer(stream: ServerHttp2Stream, body: Buffer | undefined, status: string): void {
  stream.respond(okHeaders, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, "grpc-message": "so%20it%20is" }));
  stream.end(body);
}

const say = (text: string) => frame(encode(textMessage, { text }));

function channelTo(scope: Scope, address: string): Channel {
  const connection = new GrpcConnection(address);
  scope.defer(async () => connection.close());
  return new Channel(connection);
}

async function assertVersionFails(address: string, code: RuntimeErrorCode, message: RegExp): Promise<void> {
  using client: ContainerdClient = openContainerd(address);
  await assert.rejects(client.version.get({ timeoutMs: 5_000 }), (error) => {
    assert.ok(error instanceof RuntimeError, String(error));
    assert.match(error.message, message);
    assert.ok(error.message.includes(address), error.message);
    assert.equal(error.code, code);
    return true;
  });
}

test("a missing socket, a dead one and a file are told apart, with the way out", async () => {
  await using scope = new AsyncDisposableStack();
  const directory = await temporaryDirectory(scope, "sock");
  await assertVersionFails(join(directory, "none"), "unavailable", /There is no socket .*--address/);
  await writeFile(join(directory, "file"), "");
  await assertVersionFails(join(directory, "file"), "unavailable", /Nobody listens .*journalctl/);
  await assertVersionFails(join(directory, "x".repeat(120)), "invalid-argument", /107 bytes/);
});

test("a socket that the user may not open says so", () => {
  const refused = Object.assign(new Error("connect EACCES"), { code: "EACCES" });
  const error = socketFailure("/run/containerd/containerd.sock", refused);
  assert.equal(error.code, "permission-denied");
  assert.match(error.message, /run as root/);
});

test("what is no containerd is called so: HTTP/1, other HTTP/2, other gRPC, anything else", async () => {
  await using scope = new AsyncDisposableStack();
  const first = await listen(
    scope,
    createHttpServer((_, response) => response.end()),
  );
  await assertVersionFails(first, "wrong-program", /does not speak gRPC/);
  const second = await listenGrpc(scope, (stream) => {
    stream.respond({ ":status": 404, "content-type": "text/html" });
    stream.end("<h1>no</h1>");
  });
  await assertVersionFails(second, "wrong-program", /HTTP status 404/);
  const third = await listenGrpc(scope, (stream) => {
    stream.respond({ ...okHeaders, "grpc-status": "12", "grpc-message": "unknown service" }, { endStream: true });
  });
  await assertVersionFails(third, "wrong-program", /is no containerd/);
  const noise = await listen(
    scope,
    createNetServer((socket) => socket.on("error", () => {}).end("220 mail.example ESMTP, and many more bytes\r\n")),
  );
  await assertVersionFails(noise, "wrong-program", /does not speak gRPC/);
  const silent = await listen(
    scope,
    createNetServer((socket) => socket.destroy()),
  );
  await assertVersionFails(silent, "unavailable", /broke/);
});

test("messages go both ways, many calls share a connection", async () => {
  await using scope = new AsyncDisposableStack();
  let connections = 0;
  const server = createHttp2Server();
  server.on("session", () => connections++);
  server.on("stream", (stream) => {
    stream.respond(okHeaders, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.pipe(stream);
  });
  const channel = channelTo(scope, await listen(scope, server));
  const texts = Array.from({ length: 100 }, (_, index) => `${index}`.repeat(index * 100));
  const answers = await Promise.all(texts.map((text) => channel.call(method, { text })));
  assert.deepEqual(
    answers.map(({ text }) => text),
    texts,
  );
  const conversation = channel.converse(method);
  for (const text of ["a", "", "c".repeat(1 << 20)]) {
    await conversation.send({ text });
    assert.deepEqual(await conversation.next(), { text });
  }
  conversation.end();
  assert.equal(await conversation.next(), undefined);
  assert.equal(connections, 1);
});

test("the status decides, also after messages", async () => {
  await using scope = new AsyncDisposableStack();
  const channel = channelTo(scope, await listenGrpc(scope, (stream) => answer(stream, say("half"), "10")));
  const received: string[] = [];
  await assert.rejects(
    async () => {
      for await (const { text } of channel.stream(method, {})) received.push(text);
    },
    { code: "aborted", message: /Test\/Call: so it is$/ },
  );
  assert.deepEqual(received, ["half"]);
});

test("broken answers are errors, never values", async () => {
  await using scope = new AsyncDisposableStack();
  const cases: [string, (stream: ServerHttp2Stream) => void, RuntimeErrorCode][] = [
    ["none", (stream) => answer(stream, undefined, "0"), "internal"],
    ["cut", (stream) => answer(stream, say("long enough").subarray(0, 8), "0"), "internal"],
    ["no message", (stream) => answer(stream, frame(Buffer.from([0xff, 0xff])), "0"), "internal"],
    ["compressed", (stream) => answer(stream, Buffer.from([1, 0, 0, 0, 0]), "0"), "internal"],
    ["too large", (stream) => answer(stream, Buffer.from([0, 0xff, 0, 0, 0]), "0"), "internal"],
    ["no status", (stream) => stream.respond(okHeaders, { endStream: true }), "unavailable"],
    ["reset", (stream) => stream.close(2), "unavailable"],
    ["connection lost", (stream) => stream.session?.destroy(), "unavailable"],
  ];
  for (const [name, handle, code] of cases) {
    const channel = channelTo(scope, await listenGrpc(scope, handle));
    await assert.rejects(channel.call(method, {}, { timeoutMs: 5_000 }), { code }, name);
  }
});

test("a server that says goodbye finishes the call under way; the next one goes to its successor", async () => {
  await using scope = new AsyncDisposableStack();
  let sessions = 0;
  const server = createHttp2Server();
  server.on("session", () => sessions++);
  const goodbye = Promise.withResolvers<void>();
  const open = Promise.withResolvers<void>();
  server.on("stream", (stream) => {
    stream.session?.goaway();
    // Its answer comes after all that was said before: the client knows then.
    stream.session?.ping(() => goodbye.resolve());
    void open.promise.then(() => answer(stream, say("last words"), "0"));
  });
  const channel = channelTo(scope, await listen(scope, server));
  const first = channel.call(method, {});
  await goodbye.promise;
  const second = channel.call(method, {});
  open.resolve();
  assert.deepEqual(await Promise.all([first, second]), [{ text: "last words" }, { text: "last words" }]);
  assert.equal(sessions, 2);
});

test("a call ends at its deadline, and the server gives up a second later", async () => {
  await using scope = new AsyncDisposableStack();
  const timeouts: unknown[] = [];
  const server = createHttp2Server();
  server.on("stream", (_stream, headers) => timeouts.push(headers["grpc-timeout"]));
  const call = channelTo(scope, await listen(scope, server)).call(method, {}, { timeoutMs: 2000 });
  await assert.rejects(call, { code: "deadline-exceeded", message: /2000 ms/ });
  assert.deepEqual(timeouts, ["3000m"]);
});

test("an aborted call throws the signal's reason, and the server sees the end", async () => {
  await using scope = new AsyncDisposableStack();
  const cancelled: Promise<unknown>[] = [];
  const address = await listenGrpc(scope, (stream) => {
    cancelled.push(once(stream, "close").then(() => stream.rstCode));
    stream.respond(okHeaders);
    stream.write(say("first"));
  });
  const channel = channelTo(scope, address);
  const reason = new Error("enough");
  await assert.rejects(
    async () => {
      await channel.call(method, {}, { signal: AbortSignal.abort(reason) });
    },
    (error) => error === reason,
  );
  assert.equal(cancelled.length, 0, "nothing was sent");
  const controller = new AbortController();
  const answers = channel.stream(method, {}, { signal: controller.signal });
  assert.deepEqual((await answers.next()).value, { text: "first" });
  controller.abort(reason);
  await assert.rejects(answers.next(), (error) => error === reason);
  for await (const _ of channel.stream(method, {})) break;
  assert.deepEqual(await Promise.all(cancelled), [8, 8]);
});

test("a peer that takes nothing any more holds nobody up", async () => {
  await using scope = new AsyncDisposableStack();
  const address = await listen(
    scope,
    createNetServer((socket) => socket.pause()),
  );
  const call = channelTo(scope, address).call(method, { text: "x".repeat(8 << 20) }, { timeoutMs: 200 });
  await assert.rejects(call, { code: "deadline-exceeded" });
});

test("the next call after a lost connection makes a new one; a closed client stays closed", async () => {
  await using scope = new AsyncDisposableStack();
  let calls = 0;
  const address = await listenGrpc(scope, (stream) => {
    calls++;
    if (calls % 2 === 1) stream.session?.destroy();
    else answer(stream, say("here"), "0");
  });
  const connection = new GrpcConnection(address);
  const channel = new Channel(connection);
  for (let turn = 0; turn < 3; turn++) {
    await assert.rejects(channel.call(method, {}), { code: "unavailable" });
    assert.deepEqual(await channel.call(method, {}), { text: "here" });
  }
  connection.close();
  await assert.rejects(channel.call(method, {}), { code: "cancelled" });
});

test("an idle connection lets the process end, a call under way does not", async () => {
  await using scope = new AsyncDisposableStack();
  const address = await listenGrpc(scope, (stream) => {
    void sleep(200).then(() => answer(stream, say("late"), "0"));
  });
  const script = `
    import { Channel } from ${JSON.stringify(join(import.meta.dirname, "channel.ts"))};
    import { GrpcConnection } from ${JSON.stringify(join(import.meta.dirname, "grpc-connection.ts"))};
    import { string } from ${JSON.stringify(join(import.meta.dirname, "message.ts"))};
    const method = { name: "test.Test/Call", request: {}, response: { text: string(1) } };
    const channel = new Channel(new GrpcConnection(${JSON.stringify(address)}));
    process.stdout.write((await channel.call(method, {})).text);`;
  const arguments_ = ["--input-type=module", "--eval", script];
  assert.equal(await run(process.execPath, arguments_, { timeoutMs: 60_000 }), "late");
});
