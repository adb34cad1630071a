import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { startDaemon, waitUntil } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { serviceManager } from "./service-manager.ts";

/** Listens as systemd does, and writes each message as one line; Perl is part of every Debian. */
const listener = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; my $path = $ARGV[0]; $path =~ s/^@/\\0/;
bind($s, pack("S a*", AF_UNIX, $path)) or die "$!"; print "listening\\n";
while (defined recv($s, my $m, 4096, 0)) { $m =~ s/\\n/|/g; print "$m\\n"; }
`;

async function listen(scope: Scope, address: string): Promise<() => Promise<readonly string[]>> {
  const logFile = join(await temporaryDirectory(scope, "notify"), "log");
  const daemon = await startDaemon(
    scope,
    "perl",
    ["-e", listener, address],
    { logFile },
    async () => (await readFile(logFile, "utf8")) !== "",
  );
  return async () => (await daemon.log()).trim().split("\n").slice(1);
}

for (const [kind, makeAddress] of [
  ["path", async (scope: Scope) => join(await temporaryDirectory(scope, "notify"), "socket")],
  ["abstract name", async () => `@nodewarm-test-${process.pid}`],
] as const) {
  test(`the service manager hears ready, status and stopping by its ${kind}`, async () => {
    await using scope = new AsyncDisposableStack();
    const address = await makeAddress(scope);
    const heard = await listen(scope, address);
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
