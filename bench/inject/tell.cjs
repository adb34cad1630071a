// Loaded into the program under measurement, which then tells at its end what cannot be seen from outside: when it first connected to a
// socket, in milliseconds since 1970, and how many bytes it had written (proc(5), `io`). The file is that of NODEWARM_BENCH_TELL.
const { readFileSync, writeFileSync } = require("node:fs");
const channel = require("node:diagnostics_channel").channel("net.client.socket");

let calledAt;
function connected() {
  calledAt = performance.timeOrigin + performance.now();
  channel.unsubscribe(connected);
}
channel.subscribe(connected);
process.on("exit", () => {
  const writtenBytes = Number(/^write_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
  writeFileSync(process.env.NODEWARM_BENCH_TELL, JSON.stringify({ calledAt, writtenBytes }));
});
