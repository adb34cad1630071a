import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { containerdRuntimes } from "../../../test/support/runtimes/fleet.ts";
import { openContainerd } from "./client/containerd-client.ts";
import { daemonPid } from "./daemon-pid.ts";

for (const runtime of await containerdRuntimes()) {
  describe(runtime.name, { skip: runtime.reason ?? false }, () => {
    test("its process is found, also when a power cut has emptied the file with its UUID", async () => {
      await using scope = new AsyncDisposableStack();
      const daemon = await runtime.start(scope);
      const client = openContainerd(daemon.endpoint);
      scope.defer(async () => client.close());
      assert.equal(await daemonPid(client), daemon.pid);

      const file = join(daemon.root, "io.containerd.grpc.v1.introspection/uuid");
      assert.match(await readFile(file, "utf8"), /^[0-9a-f-]{36}$/);
      await daemon.kill();
      await writeFile(file, "");
      await daemon.start();
      assert.equal(await daemonPid(client), daemon.pid);
    });
  });
}
