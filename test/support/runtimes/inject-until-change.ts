import { openContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { injectPath } from "./injection.ts";

/** `ADDRESS NAMESPACE DISK [CHANGE N]`: injects the disk, and kills itself right before the Nth change of that kind. Ends with 0 else. */

const [address = "", namespace = "", disk = "", change, count = ""] = process.argv.slice(2);
let left = Number(count);
const node = await openContainerdNode(address, namespace);
await injectPath(node, disk, {}, (step) => {
  if (step === change && --left === 0) process.kill(process.pid, "SIGKILL");
});
await node.close();
