import { openContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { fetchFrom } from "./fetching.ts";

// Fetches an image and ends itself with SIGKILL: SOCKET REGISTRY NAME step NUMBER, or `bytes NUMBER` once so many were admitted.

const [address = "", host = "", name = "", kind = "", count = ""] = process.argv.slice(2);
const node = await openContainerdNode(address, "k8s.io");
const die = () => process.kill(process.pid, "SIGKILL");
let steps = 0;
let bytes = 0;
await fetchFrom(
  node,
  { host },
  name,
  {
    admit: async (next) => {
      if (kind === "bytes" && bytes >= Number(count)) die();
      bytes += next;
    },
  },
  () => {
    if (kind === "step" && steps++ === Number(count)) die();
  },
);
process.stdout.write(String(steps));
await node.close();
