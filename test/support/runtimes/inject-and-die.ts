import { openContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { injectPath } from "./injection.ts";

/** `ADDRESS NAMESPACE DISK N`: injects the disk, and kills itself right before the Nth change. */

const [address = "", namespace = "", disk = "", count = ""] = process.argv.slice(2);
let left = Number(count);
const node = await openContainerdNode(address, namespace);
await injectPath(node, disk, {}, () => {
  if (--left === 0) process.kill(process.pid, "SIGKILL");
});
console.log("not killed");
process.exit(1);
