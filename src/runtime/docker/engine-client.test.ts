import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { RuntimeErrorCode } from "../runtime-error.ts";
import { openDockerNode } from "./docker-node.ts";
import { EngineClient } from "./engine-client.ts";

const signal = new AbortController().signal;

async function serve(scope: Scope, listener: RequestListener): Promise<EngineClient> {
  const path = join(await temporaryDirectory(scope, "engine"), "s");
  const server = createServer(listener).listen(path);
  await once(server, "listening");
  scope.defer(async () => {
    server.closeAllConnections();
    server.close();
  });
  return new EngineClient(`unix://${path}`);
}

function answer(status: number, body: unknown): RequestListener {
  return (request, response) => {
    request.resume();
    response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
  };
}

test("a socket that is not there, or that nothing of Docker is behind, is named", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "engine");
  await assert.rejects(new EngineClient(join(folder, "none")).images(signal), { code: "unavailable" });
  await writeFile(join(folder, "file"), "");
  await assert.rejects(new EngineClient(join(folder, "file")).images(signal), { code: /unavailable|wrong-program/ });
  const other = await serve(scope, answer(200, "<html>"));
  await assert.rejects(other.images(signal), { code: "wrong-program" });
  const shapeless = await serve(scope, answer(200, [{ Id: "not a digest" }]));
  await assert.rejects(shapeless.images(signal), { code: "wrong-program", message: /0\.Id/ });
});

test("refusals have the daemon's words, and a code by their status", async () => {
  await using scope = new AsyncDisposableStack();
  const codes: [number, RuntimeErrorCode][] = [
    [400, "invalid-argument"],
    [404, "not-found"],
    [409, "failed-precondition"],
    [500, "internal"],
    [503, "unavailable"],
  ];
  for (const [status, code] of codes) {
    const client = await serve(scope, answer(status, { message: "because" }));
    await assert.rejects(client.containers(signal), { code, message: /because/ });
  }
  const gone = await serve(scope, answer(404, { message: "no such image" }));
  await gone.remove("x:1", signal);
  assert.equal(await gone.runningSince("x", signal), undefined);
});

test("a load that fails after its answer has begun is a failure", async () => {
  await using scope = new AsyncDisposableStack();
  const events = `{"stream":"Loading"}\r\n{"errorDetail":{"message":"no space left"},"error":"no space left"}\r\n`;
  const client = await serve(scope, answer(200, events));
  await assert.rejects(client.load(Buffer.alloc(10), signal), { code: "internal", message: /no space left/ });
  const fine = await serve(scope, answer(200, '{"stream":"Loaded image ID: sha256:1"}\r\n'));
  await fine.load(Buffer.alloc(10), signal);
});

test("names are normalised, and tag and digest of those without are none", async () => {
  await using scope = new AsyncDisposableStack();
  const Id = `sha256:${"a".repeat(64)}`;
  const RepoTags = ["<none>:<none>", "nginx:1.25", "team/app:1", "localhost:5000/x:1"];
  const RepoDigests = ["<none>@<none>", `nginx@${Id}`, `localhost:5000/x@${Id}`];
  const client = await serve(
    scope,
    answer(200, [
      { Id, RepoTags, RepoDigests, Created: 1_700_000_000 },
      { Id, RepoTags: null, RepoDigests: null },
    ]),
  );
  const tags = ["docker.io/library/nginx:1.25", "docker.io/team/app:1", "localhost:5000/x:1"];
  const digests = [`docker.io/library/nginx@${Id}`, `localhost:5000/x@${Id}`];
  assert.deepEqual(await client.images(signal), [
    { id: Id, createdSeconds: 1_700_000_000, tags, digests },
    { id: Id, createdSeconds: 0, tags: [], digests: [] },
  ]);
});

test("a daemon that does not answer is given up when the caller gives up", async () => {
  await using scope = new AsyncDisposableStack();
  const client = await serve(scope, (request) => request.resume());
  const reason = new Error("enough");
  const stop = new AbortController();
  const asked = client.images(stop.signal);
  stop.abort(reason);
  await assert.rejects(asked, reason);
});

test("daemons whose images cannot be linked are refused with the way out", async () => {
  await using scope = new AsyncDisposableStack();
  const info = {
    Driver: "overlay2",
    DockerRootDir: "/nowhere",
    ServerVersion: "1",
    OSType: "linux",
    Architecture: "x86_64",
  };
  const cases: [object, RegExp][] = [
    [{ Driver: "vfs" }, /storage driver is vfs; set "storage-driver": "overlay2"/],
    [{ Driver: "overlayfs", DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]] }, /--namespace moby/],
    [{ SecurityOptions: ["name=seccomp,profile=default", "name=userns"] }, /userns-remap/],
    [{ SecurityOptions: ["name=rootless"] }, /rootless/],
  ];
  for (const [change, message] of cases) {
    const { address } = await serve(scope, answer(200, { ...info, ...change }));
    await assert.rejects(openDockerNode(address, signal), { code: "unimplemented", message });
  }
  const { address } = await serve(scope, answer(200, info));
  await assert.rejects(openDockerNode(address, signal), { code: "failed-precondition", message: /\/nowhere/ });
});
