import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startDaemon } from "./processes.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** Listens as systemd does, and writes each message as one line; Perl is part of every Debian. */
const listener = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; my $path = $ARGV[0]; $path =~ s/^@/\\0/;
bind($s, pack("S a*", AF_UNIX, $path)) or die "$!"; print "listening\\n";
while (defined recv($s, my $m, 4096, 0)) { $m =~ s/\\n/|/g; print "$m\\n"; }
`;

/** What a service manager with that `NOTIFY_SOCKET` was told so far, one message each, whenever it is asked. */
export async function listenForNotifications(scope: Scope, address: string): Promise<() => Promise<readonly string[]>> {
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
