import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { listenForNotifications } from "../../../test/support/notify-socket.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { serviceManager } from "./service-manager.ts";

for (const [kind, makeAddress] of [
  ["path", async (scope: Scope) => join(await temporaryDirectory(scope, "notify"), "socket")],
  ["abstract name", async () => `@nodewarm-test-${process.pid}`],
] as const) {
  test(`the service manager hears ready, status and stopping by its ${kind}`, async () => {
    await using scope = new AsyncDisposableStack();
    const address = await makeAddress(scope);
    const heard = await listenForNotifications(scope, address);
    const manager = serviceManager({ NOTIFY_SOCKET: address });
    manager.status("3 of 5 images warm");
    manager.status("3 of 5 images warm");
    manager.status("bad\nREADY=1");
    manager.ready();
    manager.stopping();
    await waitUntil("all is heard", async () => (await heard()).length === 4);
    assert.deepEqual(await heard(), ["STATUS=3 of 5 images warm", "STATUS=bad READY=1", "READY=1", "STOPPING=1"]);
  });
}

test("a manager that is away, or none at all, stops nothing", () => {
  for (const address of [undefined, "/nowhere/socket", `/${"x".repeat(200)}`]) {
    const manager = serviceManager(address === undefined ? {} : { NOTIFY_SOCKET: address });
    manager.ready();
    manager.status("still here");
  }
});
