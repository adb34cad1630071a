import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startFaultRegistry } from "../../../test/support/fault-registry.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { listen } from "../../../test/support/registry.ts";
import { openImageSource } from "../open-image.ts";
import { parsePlatform } from "../platform.ts";

test("the proxy of the environment is used, except for this machine and the hosts of NO_PROXY", async (context) => {
  const directory = await mkdtemp(join(tmpdir(), "nodewarm-proxy-"));
  const image = await makeImage(directory, { layers: [] });
  const registry = await startFaultRegistry({ layoutDirectory: directory, tags: { "a/b:v1": image.manifest } });
  const [hostname, port] = registry.host.split(":");
  let proxied = 0;
  const proxy = await listen((incoming, outgoing) => {
    proxied++;
    const path = (incoming.url ?? "").replace(/^http:\/\/[^/]+/, "");
    request({ hostname, port, path, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    }).end();
  });
  proxy.server.on("connect", (_request, socket) => {
    proxied++;
    const upstream = connect(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
  });
  context.after(async () => {
    await proxy.stop();
    await registry.stop();
    await rm(directory, { recursive: true });
  });
  const resolve = async (host: string, environment: NodeJS.ProcessEnv): Promise<string> => {
    const source = await openImageSource(`${host}/a/b:v1`, {
      plainHttp: ["registry.invalid"],
      environment,
      limits: { "fetch-retries": 0 },
    });
    try {
      const signal = new AbortController().signal;
      return (await source.resolve(parsePlatform("linux/amd64"), { signal })).manifest.digest;
    } finally {
      await source.close();
    }
  };
  const HTTP_PROXY = `http://${proxy.host}`;
  assert.equal(await resolve("registry.invalid", { HTTP_PROXY }), image.manifest.digest);
  assert.ok(proxied > 0);
  proxied = 0;
  assert.equal(await resolve(registry.host, { HTTP_PROXY }), image.manifest.digest);
  await assert.rejects(resolve("registry.invalid", { http_proxy: HTTP_PROXY, no_proxy: ".invalid" }), {
    code: "registry-unreachable",
  });
  assert.equal(proxied, 0);
});
