import assert from "node:assert/strict";
import { once } from "node:events";
import { symlink } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createSocketServer } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Scope, temporaryDirectory } from "../../test/support/temporary.ts";
import { discoverRuntimes } from "./discovery.ts";

/** Answers as a Docker daemon with those facts does. */
async function startDocker(scope: Scope, address: string, info: unknown): Promise<void> {
  const server = createServer((request, answer) => {
    if (request.url !== "/info") answer.statusCode = 404;
    answer.end(typeof info === "string" ? info : JSON.stringify(info));
  });
  server.listen(address);
  await once(server, "listening");
  scope.defer(async () => void server.close());
}

const overlay2 = { ServerVersion: "20.10.24", Driver: "overlay2", DriverStatus: [["Supports d_type", "true"]] };
const inContainerd = {
  ServerVersion: "28.5.2",
  Driver: "overlayfs",
  DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]],
  Containerd: { Address: "/run/x/containerd.sock", Namespaces: { Containers: "moby" } },
};

describe("discovery of runtimes", () => {
  it("says where it looked, what was there, and how to name a runtime", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope);
    await startDocker(scope, join(folder, "docker"), overlay2);
    const silent = createSocketServer((socket) => socket.end("hello\n"));
    silent.listen(join(folder, "other"));
    scope.defer(async () => void silent.close());
    const search = discoverRuntimes({ runtime: "auto" }, [
      { kind: "containerd", address: join(folder, "none"), of: "containerd" },
      { kind: "containerd", address: join(folder, "other"), of: "k3s" },
      { kind: "docker", address: join(folder, "docker"), of: "Docker" },
    ]);
    await assert.rejects(search, ({ name, code, message }: Error & { code: string }) => {
      assert.deepEqual([name, code], ["RuntimeError", "not-found"]);
      assert.match(message, /none \(containerd\): no socket\n/);
      assert.match(message, /other \(k3s\): .*(does not speak gRPC|broke)/);
      assert.match(message, /docker \(Docker\): .*overlay2 store; say --runtime docker/);
      assert.match(message, /--address SOCKET/);
      return true;
    });
  });

  it("takes Docker with overlay2 only when asked for", async () => {
    await using scope = new AsyncDisposableStack();
    const address = join(await temporaryDirectory(scope), "docker");
    await startDocker(scope, address, overlay2);
    const candidates = [{ kind: "docker", address, of: "Docker" }] as const;
    await assert.rejects(discoverRuntimes({ runtime: "auto" }, candidates), { code: "not-found" });
    const expected = [{ kind: "docker-graph", address }];
    assert.deepEqual(await discoverRuntimes({ runtime: "docker" }, candidates), expected);
    assert.deepEqual(await discoverRuntimes({ runtime: "docker", address }), expected);
    // The user has named it.
    assert.deepEqual(await discoverRuntimes({ runtime: "auto", address: `unix://${address}` }, []), expected);
  });

  it("takes the containerd of a Docker that keeps its images there", async () => {
    await using scope = new AsyncDisposableStack();
    const address = join(await temporaryDirectory(scope), "docker");
    await startDocker(scope, address, inContainerd);
    const expected = [{ kind: "containerd", address: "/run/x/containerd.sock", namespace: "moby", docker: address }];
    for (const runtime of ["auto", "docker"] as const)
      assert.deepEqual(await discoverRuntimes({ runtime }, [{ kind: "docker", address, of: "Docker" }]), expected);
  });

  it("finds one daemon behind two sockets once", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope);
    await startDocker(scope, join(folder, "docker"), inContainerd);
    await symlink("docker", join(folder, "link"));
    const candidates = ["docker", "link"].map((name) => ({
      kind: "docker" as const,
      address: join(folder, name),
      of: name,
    }));
    assert.equal((await discoverRuntimes({ runtime: "auto" }, candidates)).length, 1);
  });

  const refused: readonly [string, unknown, RegExp][] = [
    ["another storage driver", { ...overlay2, Driver: "btrfs" }, /storage driver is "btrfs"/],
    ["another snapshotter", { ...inContainerd, Driver: "native" }, /snapshotter is "native"/],
    [
      "another namespace",
      { ...inContainerd, Containerd: { ...inContainerd.Containerd, Namespaces: { Containers: "moby.1.2" } } },
      /namespace "moby\.1\.2"/,
    ],
    ["no containerd that it names", { ...inContainerd, Containerd: null }, /does not say which containerd/],
    ["an answer without a driver", {}, /no Docker \(ServerVersion is missing/],
    ["an answer that is no JSON", "<html>", /not JSON/],
  ];
  for (const [what, info, message] of refused) {
    it(`refuses a Docker with ${what}`, async () => {
      await using scope = new AsyncDisposableStack();
      const address = join(await temporaryDirectory(scope), "docker");
      await startDocker(scope, address, info);
      await assert.rejects(discoverRuntimes({ runtime: "docker" }, [{ kind: "docker", address, of: "Docker" }]), {
        message,
      });
    });
  }
});
