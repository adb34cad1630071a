import { containerdRuntimes } from "./fleet.ts";
import { probeImageName } from "./runtime-images.ts";

// For the test of an interruption: starts the containerd that the argument names and a container, says where, and waits to
// be killed.

const runtime = (await containerdRuntimes()).find(({ version }) => version === process.argv[2]);
if (runtime === undefined) throw new Error(`there is no containerd ${process.argv[2]}`);
await using scope = new AsyncDisposableStack();
const daemon = await runtime.start(scope);
await daemon.importRuntimeImages();
await daemon.runDetached({ namespace: "k8s.io", image: probeImageName, command: ["/bin/sleep", "1000"] });
console.log(daemon.directory);
await new Promise((resolve) => setTimeout(resolve, 60_000));
