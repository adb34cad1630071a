import { openDockerNode } from "../../../src/runtime/docker/docker-node.ts";
import { injectIntoDocker } from "./docker-graph.ts";

// Injects a disk into a Docker daemon and ends itself with SIGKILL at a step: ADDRESS DISK STEP.

const [address = "", disk = "", last] = process.argv.slice(2);
const node = await openDockerNode(address, AbortSignal.timeout(30_000));
await injectIntoDocker(node, disk, {}, (step) => {
  if (step === last) process.kill(process.pid, "SIGKILL");
});
