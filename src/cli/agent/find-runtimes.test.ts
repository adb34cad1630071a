import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { Candidate } from "../../runtime/discovery.ts";
import { findAllRuntimes, findRuntimes } from "./find-runtimes.ts";

const overlay2 = { ServerVersion: "20.10.24", Driver: "overlay2", DriverStatus: [] };
const inContainerd = {
  ServerVersion: "28.5.2",
  Driver: "overlayfs",
  DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]],
  Containerd: { Address: "/run/x/containerd.sock", Namespaces: { Containers: "moby" } },
};

/** A socket that answers as a Docker daemon with those facts does. */
async function docker(scope: Scope, info: object): Promise<Candidate> {
  const address = join(await temporaryDirectory(scope, "docker"), "s");
  const server = createServer((_, answer) => answer.end(JSON.stringify(info)));
  server.listen(address);
  await once(server, "listening");
  scope.defer(async () => void server.close());
  return { kind: "docker", address, of: "Docker" };
}

const nothing: Candidate = { kind: "containerd", address: "/nonexistent/containerd.sock", of: "containerd" };

test("a Docker with overlay2 counts where the configuration says so, and nothing is named", async () => {
  await using scope = new AsyncDisposableStack();
  const graph = await docker(scope, overlay2);
  const candidates = [nothing, graph];
  const found = [{ kind: "docker-graph", address: graph.address }];
  assert.deepEqual(await findRuntimes({ runtime: "auto" }, { overlay2: true }, candidates), found);
  const refused = { code: "not-found", message: /overlay2 store/ };
  await assert.rejects(findRuntimes({ runtime: "auto" }, { overlay2: false }, candidates), refused);
  await assert.rejects(findRuntimes({ runtime: "containerd" }, { overlay2: true }, candidates), { code: "not-found" });
  assert.deepEqual(await findAllRuntimes(candidates), found);
});

test("what both searches find is there once, beside what one of them does", async () => {
  await using scope = new AsyncDisposableStack();
  const candidates = [await docker(scope, inContainerd), await docker(scope, overlay2)];
  const found = await findAllRuntimes(candidates);
  assert.deepEqual(
    found.map(({ kind }) => kind),
    ["containerd", "docker-graph"],
  );
});

test("where nothing runs, an agent is told every place that was looked at, and there is nothing to leave", async () => {
  const candidates = [nothing, { ...nothing, kind: "docker" } as const];
  await assert.rejects(findRuntimes({ runtime: "auto" }, { overlay2: true }, candidates), {
    message: /containerd\.sock \(containerd\): no socket\n.*no socket/,
  });
  assert.deepEqual(await findAllRuntimes(candidates), []);
});
