import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { describe, test } from "node:test";
import { dockerRuntimes } from "../../../../test/support/runtimes/docker-fleet.ts";
import { probeImageName } from "../../../../test/support/runtimes/runtime-images.ts";
import { type Scope, temporaryDirectory } from "../../../../test/support/temporary.ts";
import { ChangeQueue } from "../../change-queue.ts";
import type { ImageChange } from "../../image-keeper.ts";
import { EngineClient } from "../engine-client.ts";
import { listen } from "./watch-changes.ts";

for (const runtime of (await dockerRuntimes()).filter(({ store }) => store === "overlay2")) {
  describe(`changes of images in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    test("events that a proxy swallows are made good by looking", async () => {
      await using scope = new AsyncDisposableStack();
      const daemon = await runtime.start(scope);
      await daemon.loadRuntimeImages();
      const proxy = await startProxy(scope, daemon.address);
      const end = new AbortController();
      const queue = new ChangeQueue();
      const listening = listen(
        new EngineClient(proxy.address),
        queue,
        end.signal,
        () => queue.push({ type: "listening" }),
        200,
      );
      listening.catch((error) => queue.fail(error));
      scope.defer(async () => {
        end.abort();
        await listening.catch(() => {});
      });
      const changes = queue.read(AbortSignal.any([end.signal, AbortSignal.timeout(30_000)]));
      const untilTold = async (wanted: ImageChange) => {
        for (;;) {
          const { value, done } = await changes.next();
          assert.ok(done !== true, `nobody told of ${JSON.stringify(wanted)}`);
          if (JSON.stringify(value) === JSON.stringify(wanted)) return;
        }
      };
      await untilTold({ type: "listening" });
      await daemon.docker("tag", probeImageName, "example.com/seen:1");
      await untilTold({ type: "changed", name: "example.com/seen:1" });
      proxy.swallows = true;
      await daemon.docker("tag", probeImageName, "example.com/swallowed:1");
      await untilTold({ type: "changed", name: "example.com/swallowed:1" });
      await daemon.docker("rmi", "example.com/seen:1");
      await untilTold({ type: "changed", name: "example.com/seen:1" });
    });
  });
}

/** A socket that leads to that of a Docker, and takes the events while `swallows` is true. */
async function startProxy(scope: Scope, address: string): Promise<{ readonly address: string; swallows: boolean }> {
  const proxy = { address: join(await temporaryDirectory(scope, "proxy"), "s"), swallows: false };
  const server = createServer(({ method, url = "", headers }, response) => {
    const call = request({ socketPath: address, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
      answer.on("data", (bytes) => {
        if (!(proxy.swallows && url.startsWith("/events"))) response.write(bytes);
      });
      answer.on("end", () => response.end());
    });
    call.on("error", () => response.destroy());
    response.on("close", () => call.destroy());
    call.end();
  });
  server.listen(proxy.address);
  await once(server, "listening");
  scope.defer(async () => {
    server.closeAllConnections();
    server.close();
  });
  return proxy;
}
