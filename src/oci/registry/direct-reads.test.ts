import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type ServerResponse,
} from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { makeCertificates } from "../../../test/support/certificates.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { pieceBytes, recyclePiece } from "../piece-buffers.ts";
import { bodyPieces } from "./body-pieces.ts";
import { prepareDirectReads } from "./direct-reads.ts";

const large = Buffer.alloc(9_000_001, "nodewarm disks hold images ");

type Answer = (response: ServerResponse, socket: Socket) => void;

/** Key and certificate of a server with TLS. */
type Identity = { readonly key: Buffer; readonly cert: Buffer };

async function withServer(
  answer: Answer,
  use: (get: () => Promise<IncomingMessage>) => Promise<void>,
  tls?: Identity,
): Promise<void> {
  const listener: RequestListener = (incoming, response) => answer(response, incoming.socket);
  const server = tls === undefined ? createServer(listener) : https.createServer(tls, listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const options = { keepAlive: true, rejectUnauthorized: false };
  const agent = prepareDirectReads(tls === undefined ? new Agent(options) : new https.Agent(options));
  const { port } = server.address() as AddressInfo;
  const get = async (): Promise<IncomingMessage> => {
    const sent = (tls === undefined ? request : https.request)({ host: "127.0.0.1", port, agent }).end();
    const [received] = await once(sent, "response");
    sent.on("error", () => {});
    return received;
  };
  try {
    await use(get);
  } finally {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  }
}

function piecesOf(answer: IncomingMessage, onHold?: (isHeld: boolean) => void): AsyncGenerator<Uint8Array> {
  const sizeBytes = Number(answer.headers["content-length"]);
  return bodyPieces(answer, { sizeBytes, onArrival: () => {}, answer, ...(onHold && { onHold }) });
}

const whole: Answer = (response) => response.writeHead(200, { "content-length": large.length }).end(large);

test("a long body comes whole, around the parser, also when its memory is used again", async () => {
  await withServer(whole, async (get) => {
    for (let run = 0; run < 3; run++) {
      const answer = await get();
      // The parser has begun with the body, and waits.
      if (run === 1) await new Promise((resolve) => setTimeout(resolve, 50));
      const got: Buffer[] = [];
      for await (const piece of piecesOf(answer)) {
        got.push(Buffer.from(piece));
        piece.fill(0);
        recyclePiece(piece);
      }
      assert.ok(Buffer.concat(got).equals(large));
      assert.ok(!answer.complete && answer.socket.destroyed, "its connection is not used again");
    }
  });
});

/** Whether a body of this size comes whole, and around the parser: its connection is not used again then. */
async function isReadDirectly(sizeBytes: number, tls?: Identity): Promise<boolean> {
  const body = Buffer.alloc(sizeBytes, "nodewarm");
  let isDestroyed = false;
  await withServer(
    (response) => response.writeHead(200, { "content-length": sizeBytes }).end(body),
    async (get) => {
      const answer = await get();
      // Once it is used again, the answer no longer tells it.
      const { socket } = answer;
      const got = await Array.fromAsync(piecesOf(answer), (piece) => Buffer.from(piece));
      assert.ok(Buffer.concat(got).equals(body));
      isDestroyed = socket.destroyed;
    },
    tls,
  );
  return isDestroyed;
}

test("a connection is given up for 512 KiB, and with TLS for 4 MiB", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "tls");
  makeCertificates(folder);
  const tls = { key: await readFile(join(folder, "server-key.pem")), cert: await readFile(join(folder, "server.pem")) };
  for (const [leastBytes, identity] of [
    [512 << 10, undefined],
    [4 << 20, tls],
  ] as const) {
    assert.equal(await isReadDirectly(leastBytes - 1, identity), false);
    assert.equal(await isReadDirectly(leastBytes, identity), true);
  }
});

test("short bodies leave the connection open, for long ones too", async () => {
  const sockets = new Set<Socket>();
  let requests = 0;
  const answer: Answer = (response, socket) => {
    sockets.add(socket);
    if (++requests === 3) whole(response, socket);
    else response.end("short");
  };
  await withServer(answer, async (get) => {
    for (const expected of [Buffer.from("short"), Buffer.from("short"), large]) {
      const got = await Array.fromAsync(piecesOf(await get()), (piece) => Buffer.from(piece));
      assert.ok(Buffer.concat(got).equals(expected));
    }
    assert.equal(sockets.size, 1);
  });
});

test("what came before the connection broke is given before the failure", async () => {
  const cut: Answer = (response, socket) => {
    response.writeHead(200, { "content-length": large.length });
    response.write(large.subarray(0, 5_000_000), () => socket.destroySoon());
  };
  await withServer(cut, async (get) => {
    let bytes = 0;
    const answer = await get();
    await assert.rejects(async () => {
      for await (const piece of piecesOf(answer)) bytes += piece.length;
    }, /aborted|ECONNRESET/);
    assert.equal(bytes, 5_000_000);
  });
});

test("a slow reader holds the connection up, and bytes behind the end are not taken", async () => {
  const more = Buffer.concat([large, Buffer.from("more")]);
  const tooMuch: Answer = (_, socket) =>
    void socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${large.length}\r\n\r\n`), more]));
  await withServer(tooMuch, async (get) => {
    const holds: boolean[] = [];
    const got: Buffer[] = [];
    for await (const piece of piecesOf(await get(), (isHeld) => holds.push(isHeld))) {
      got.push(Buffer.from(piece));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.ok(Buffer.concat(got).equals(large));
    assert.deepEqual(new Set(holds), new Set([true, false]));
    assert.ok(got.every(({ length }) => length <= pieceBytes));
  });
});

test("leaving early closes the connection", async () => {
  await withServer(whole, async (get) => {
    const answer = await get();
    for await (const _ of piecesOf(answer)) break;
    assert.ok(answer.socket.destroyed);
  });
});
